"""The scheduler process: ``python -m scheduler``. Any number of them may run."""

import signal
from collections.abc import Callable
from typing import Any

from actors.broker import build_broker
from actors.tasks import QUEUES, queue_of
from batching.figures import Figures
from canary.channel import webhook_secret
from canary.probe import Watcher
from runtime import sentry
from runtime.build import Runtime, build_or_exit
from runtime.clients import http_client
from runtime.health import MONITOR_EVERY_MS, Monitor, context_of
from runtime.publisher import Endpoint, Publisher
from runtime.settings import systemd_environment
from runtime.systemd import Systemd
from scheduler.tick import Tick
from scheduler.timer import Timer, Watchdog

#: HUP too: settings are read once, so a process is replaced, never told to read them again.
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
#: How often the canary is checked, ms; how often one is sent is a setting.
CANARY_CHECK_MS = 500
#: How often pending alerts are delivered, ms.
NOTIFY_MS = 1_000
#: How often it is looked how many wake-ups wait in the broker, ms.
QUEUES_MS = 2_000
#: The process ends itself if no tick ended for so long, ms.
HUNG_MS = 10_000


def _canary_watcher(runtime: Runtime) -> Watcher:
    settings = runtime.settings
    return Watcher(
        runtime.store,
        url=settings.canary_url,
        every_ms=settings.canary_every_ms,
        secret=webhook_secret(settings.privacy_key),
        http=http_client(),
    )


def _watched_queues(figures: Figures, broker: Any) -> Callable[[], None]:  # noqa: ANN401 - either of ours
    """Return what notes how many wake-ups wait in the broker. Never raises."""

    def note() -> None:
        try:
            figures.queued = broker.waiting(QUEUES)
        except Exception:  # noqa: BLE001 - whatever a broker raises; the tick tells of it
            figures.queued = {}

    return note


def _publisher(runtime: Runtime) -> Publisher:
    settings = runtime.settings
    endpoint = Endpoint(settings.events_url, settings.events_secret, http_client())
    is_told = bool(settings.events_url)
    return Publisher(runtime.store, runtime.store.ledger_id(), endpoint if is_told else None)


def _look_after_the_service(
    timer: Timer,
    runtime: Runtime,
    broker: Any,  # noqa: ANN401 - either of ours
) -> None:
    """Deliver, publish and watch: what is the service's alone, and none of a trial's."""
    settings, store = runtime.settings, runtime.store
    timer.every(NOTIFY_MS, runtime.notifier)
    timer.every(QUEUES_MS, _watched_queues(store.figures, broker))
    timer.every(NOTIFY_MS, _publisher(runtime))
    if settings.canary_url:
        timer.every(CANARY_CHECK_MS, _canary_watcher(runtime))
    timer.every(MONITOR_EVERY_MS, Monitor(context_of(store, settings, "scheduler")))


def main() -> None:
    """Tick until told to stop. Exits with a line for each mistake in the settings."""
    # Before any thread exists: threads inherit the mask, so only sigwait receives the signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    runtime = build_or_exit("scheduler")
    settings = runtime.settings
    broker = build_broker(settings.broker_url, client_name="ai-admin-scheduler")
    queue = queue_of(broker, runtime)
    systemd = Systemd(systemd_environment())
    watchdog, timer = Watchdog(limit_ms=HUNG_MS), Timer()

    def alive() -> None:
        watchdog.alive()
        systemd.alive()

    tick = Tick(runtime.store.watch, queue.enqueue_flush, alive, systemd.ready)
    timer.every(settings.flush_tick_ms, tick)
    if not settings.on_trial:
        _look_after_the_service(timer, runtime, broker)

    runtime.fleet.start()
    watchdog.start()
    timer.start()
    signal.sigwait(STOP_SIGNALS)
    systemd.stopping()
    timer.stop()
    watchdog.stop()
    runtime.fleet.stop()
    broker.close()
    sentry.flush()


if __name__ == "__main__":
    main()
