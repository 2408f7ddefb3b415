"""HTTP: webhooks, health, metrics, the simulator's page. The only package that knows Falcon."""

import falcon

from runtime.build import Runtime
from web import errors, routes, simulator
from web.access import Operators
from web.guesses import Guesses
from web.health import FleetView, Live, readiness, soundness
from web.metrics import Metrics
from web.webhooks import Answers


def create_app(runtime: Runtime) -> falcon.App[falcon.Request, falcon.Response]:
    """Return the WSGI application; the simulator is part of it except in production."""
    answers = Answers(runtime.channels)
    app = falcon.App(middleware=[answers])
    errors.install(app, runtime.outages)
    operators = Operators(runtime.settings, Guesses(runtime.store, "the operator's pages"))
    app.add_route("/livez", Live())
    app.add_route("/readyz", readiness(runtime, operators))
    app.add_route("/healthz", soundness(runtime, operators))
    app.add_route("/fleet", FleetView(runtime, operators))
    app.add_route("/metrics", Metrics(runtime, operators, answers.registry))
    routes.add_webhooks(app, runtime)
    if not runtime.settings.is_production:
        simulator.add_routes(app, runtime)
    return app
