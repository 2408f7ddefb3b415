"""The doors to the outside: webhooks, health, the simulator. The only package that knows Falcon.

A webhook takes one way: raw bytes within limits, proof of who sent them, JSON, the channel's
parser, one round trip to the ledger, 200. Nothing else is on that way.
"""

import falcon

from runtime.build import Runtime
from web import errors, simulator
from web.canary import CanaryWebhook
from web.health import FleetView, Live, Ready
from web.metrics import Metrics
from web.venom import VenomWebhook
from web.whatsapp_cloud import WhatsAppCloudWebhook


def create_app(runtime: Runtime) -> falcon.App[falcon.Request, falcon.Response]:
    """Return the WSGI application; the simulator is part of it except in production."""
    app = falcon.App()
    errors.install(app)
    app.add_route("/livez", Live())
    app.add_route("/readyz", Ready(runtime))
    app.add_route("/fleet", FleetView(runtime))
    app.add_route("/metrics", Metrics(runtime))
    app.add_route("/webhooks/whatsapp_cloud", WhatsAppCloudWebhook(runtime))
    app.add_route("/webhooks/venom/{account_id}", VenomWebhook(runtime))
    app.add_route("/webhooks/canary", CanaryWebhook(runtime))
    if not runtime.settings.is_production:
        simulator.add_routes(app, runtime)
    return app
