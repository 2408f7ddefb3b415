#!/bin/sh
# Of AI Admin, see policy-rc.d(8). An upgrade of nginx-common would restart nginx, and webhooks be refused meanwhile;
# that of nginx, which comes with it, has the new program take over from the old one.
while case "$1" in --*) true ;; *) false ;; esac do shift; done
case "$1 $2" in "nginx restart" | "nginx.service restart") exit 101 ;; esac
