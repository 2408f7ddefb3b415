"""The WSGI application: ``gunicorn wsgi:application``. The only module that acts when imported."""

import atexit

from runtime.build import build_or_exit
from web import create_app

_runtime = build_or_exit("web")
_runtime.fleet.start()
atexit.register(_runtime.store.figures.traces.close)
atexit.register(_runtime.fleet.stop)

application = create_app(_runtime)
