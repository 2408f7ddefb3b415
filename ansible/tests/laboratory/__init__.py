"""Hosts on which the playbooks are proved: real Debian, real systemd, real SSH, and no way out.

A **laboratory** is a few guests (systemd-nspawn, systemd as PID 1) and a **controller**: a network
namespace from which Ansible reaches them, and where the world outside stands as fakes: WhatsApp, a
model, Sentry, Debian's packages. Guests reach nothing else.

Everything that a laboratory leaves on the machine carries its **prefix**, so that several can run
side by side and that what a crash left behind can be found.
"""
