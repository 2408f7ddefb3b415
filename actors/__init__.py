"""The worker process: Dramatiq carries wake-ups and calls the flow. ``dramatiq actors:main``."""

from functools import partial

import dramatiq

from actors.broker import build_broker
from actors.bulkhead import Bulkhead
from actors.middleware import AtStop, Pauses, Readiness, Threads
from actors.tasks import TRIAL_QUEUES, Tasks, declare, queue_of
from runtime import sentry
from runtime.build import build_or_exit
from runtime.settings import systemd_environment
from runtime.systemd import Systemd


def main() -> None:
    """Build this process and set its broker as the one that Dramatiq serves.

    Dramatiq calls it in every worker process. Exits with a line for each mistake in the settings.
    """
    runtime = build_or_exit("worker")
    broker = build_broker(
        runtime.settings.broker_url, client_name="ai-admin-worker", outages=runtime.outages
    )
    bulkhead, pauses = Bulkhead(), Pauses()
    systemd = Systemd(systemd_environment())
    at_stop = AtStop(runtime.fleet.stop, runtime.store.figures.traces.close, sentry.flush)
    threads = Threads(runtime.store.figures)
    for middleware in (bulkhead, pauses, threads, Readiness(systemd), at_stop):
        broker.add_middleware(middleware)
    queue, on_trial = queue_of(broker, runtime), runtime.settings.on_trial
    # A trial says nothing of the service.
    alive = (lambda: None) if on_trial else partial(sentry.check_in, runtime.store.client)
    tasks = Tasks(
        runtime.store, runtime.accounts, queue, alive, bulkhead, pauses, outages=runtime.outages
    )
    declare(broker, tasks, prefix=TRIAL_QUEUES if on_trial else "")
    dramatiq.set_broker(broker)
    runtime.fleet.start()
