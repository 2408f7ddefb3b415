"""Where the world outside stands, on the controller: the ports, and the addresses guests use."""

from laboratory.places import CONTROLLER

OUTSIDE = (CONTROLLER, 8080)
SENTRY = (CONTROLLER, 9000)
OUTSIDE_URL = f"http://{CONTROLLER}:{OUTSIDE[1]}"
SENTRY_URL = f"http://{CONTROLLER}:{SENTRY[1]}"
#: What goes into SENTRY_DSN.
DSN = f"http://public@{CONTROLLER}:{SENTRY[1]}/1"
