"""free.py ADDRESS PORT: end as soon as nobody listens there, or after half a minute.

Stands in a unit between single quotes, and has none of these, of percent signs or dollars.
"""

import os
import socket
import sys
import time

UNTIL = time.monotonic() + 30
while time.monotonic() < UNTIL:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((sys.argv[1], int(sys.argv[2])))
        except OSError:
            time.sleep(0.001)
            continue
    break
# The interpreter takes its leave in milliseconds, in which customers are refused.
os._exit(0)
