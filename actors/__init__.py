"""Dramatiq: carries wake-ups between processes and calls the flow. ``dramatiq actors:main``."""

import dramatiq

from actors.broker import build_broker
from actors.bulkhead import Bulkhead
from actors.middleware import Readiness
from actors.tasks import BrokerQueue, Tasks, declare
from runtime import sentry
from runtime.build import build_or_exit
from runtime.sentry import CronMonitor
from runtime.settings import systemd_environment
from runtime.systemd import Systemd


def main() -> None:
    """Build this worker process and make its broker the one that Dramatiq serves.

    Called by Dramatiq in every worker process. Exits with a line for each mistake in the settings.
    """
    runtime = build_or_exit("worker")
    broker = build_broker(
        runtime.settings.broker_url,
        client_name="ai-admin-worker",
        at_stop=(runtime.fleet.stop, sentry.flush),
    )
    places = Bulkhead()
    broker.add_middleware(places)
    broker.add_middleware(Readiness(Systemd(systemd_environment())))
    queue = BrokerQueue(broker, runtime.store.client)
    alive = CronMonitor(runtime.store.client).alive
    tasks = Tasks(runtime.store, runtime.accounts, queue, alive, places)
    declare(broker, tasks)
    dramatiq.set_broker(broker)
    runtime.fleet.start()
