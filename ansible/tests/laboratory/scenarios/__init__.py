"""Scenarios: what operators do, what goes wrong, and what customers notice of it: nothing."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from laboratory.scenarios import bare, deploys, outages, planted, refusals, signals
from laboratory.stage import Stage

#: In the order in which they are played: each begins with a service in order, the first without.
SCENARIOS: Mapping[str, Callable[[Stage], None]] = MappingProxyType(
    {
        "bare": bare.bare_hosts,
        "deploys": deploys.many_deploys,
        "deploy": deploys.one_deploy,
        "refusal": refusals.one_refusal,
        "weather": deploys.bad_weather,
        "rollback": deploys.rollback,
        "together": deploys.two_at_once,
        "drain": deploys.drain,
        "refusals": refusals.refusals,
        "elsewhere": refusals.another_ledger,
        "worker": outages.worker_host_without_power,
        "scheduler": outages.frozen_scheduler,
        "ledger": outages.ledger_host_without_power,
        "planted": planted.planted,
        "signals": signals.signals,
    }
)
#: What is played where little time is.
SHORT = ("bare", "deploy", "refusal")
#: The whole of it.
LONG = tuple(name for name in SCENARIOS if name not in {"deploy", "refusal"})
