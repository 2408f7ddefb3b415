"""Dramatiq: carries doorbells between processes and calls the flow. ``dramatiq actors:main``."""

import dramatiq

from actors.broker import build_broker
from actors.doorbell import BrokerDoorbell
from actors.doors import Doors, declare
from actors.places import Places
from actors.readiness import Readiness
from runtime import observability
from runtime.build import build_or_exit
from runtime.monitor import Monitor
from runtime.settings import supervisor_environment
from runtime.supervisor import Supervisor


def main() -> None:
    """Build this worker process and make its broker the one that Dramatiq serves.

    Called by Dramatiq in every worker process. Exits with a line for each mistake in the settings.
    """
    runtime = build_or_exit("worker")
    broker = build_broker(
        runtime.settings.broker_url,
        client_name="ai-admin-worker",
        at_stop=(runtime.fleet.stop, observability.flush),
    )
    places = Places()
    broker.add_middleware(places)
    broker.add_middleware(Readiness(Supervisor(supervisor_environment())))
    doorbell = BrokerDoorbell(broker, runtime.store.client)
    alive = Monitor(runtime.store.client).alive
    doors = Doors(runtime.store, runtime.accounts, doorbell, alive, places)
    declare(broker, doors)
    dramatiq.set_broker(broker)
    runtime.fleet.start()
