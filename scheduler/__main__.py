"""The scheduler process: ``python -m scheduler``. Any number of them may run."""

import signal

from actors.broker import build_broker
from actors.doorbell import BrokerDoorbell
from runtime import observability
from runtime.build import build_or_exit
from runtime.clients import http_client
from runtime.diagnosis import subject_of
from runtime.settings import supervisor_environment
from runtime.supervisor import Supervisor
from scheduler.canary import Canary
from scheduler.tick import Tick
from scheduler.timer import Timer
from scheduler.watch import EVERY_MS, Rounds
from scheduler.watchdog import Watchdog

#: HUP too: settings are read once, so a process is replaced, never told to read them again.
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
#: How often the canary is looked after, ms; how often it is sent is a setting.
CANARY_LOOK_MS = 500
#: How often a person is told what the ledger wrote down, ms.
TELL_MS = 1_000
#: How long no tick may end before the process gives itself up, ms.
HUNG_MS = 10_000


def main() -> None:
    """Tick until told to stop. Exits with a line for each mistake in the settings."""
    # Before any thread exists: threads inherit the mask, so that only sigwait gets the signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    runtime = build_or_exit("scheduler")
    broker = build_broker(runtime.settings.broker_url, client_name="ai-admin-scheduler")
    doorbell = BrokerDoorbell(broker, runtime.store.client)
    supervisor = Supervisor(supervisor_environment())
    watchdog, timer = Watchdog(limit_ms=HUNG_MS), Timer()

    def alive() -> None:
        watchdog.alive()
        supervisor.alive()

    tick = Tick(runtime.store, doorbell, alive, supervisor.ready)
    timer.every(runtime.settings.flush_tick_ms, tick)
    timer.every(TELL_MS, runtime.teller)
    if runtime.settings.canary_url:
        timer.every(CANARY_LOOK_MS, Canary(runtime, http_client()))
    timer.every(EVERY_MS, Rounds(subject_of(runtime.store, runtime.settings, "scheduler")))

    runtime.fleet.start()
    watchdog.start()
    timer.start()
    signal.sigwait(STOP_SIGNALS)
    supervisor.stopping()
    timer.stop()
    watchdog.stop()
    runtime.fleet.stop()
    broker.close()
    observability.flush()


if __name__ == "__main__":
    main()
