"""The operator's verbs. Each is a module with ``run``; ``VERBS`` lists them for manage.py.

A verb prints what it found and returns the exit status: 0 all is well, 1 a person must act,
2 the command itself was wrong (argparse).
"""

from cli import (
    alerts,
    audit,
    balance,
    canary,
    check,
    dead,
    doctor,
    erase,
    fleet,
    model,
    trace,
)
from cli.common import Verb

VERBS = (
    Verb("check", "look at settings, accounts and Redis before anything starts", check.run),
    Verb("doctor", "look at the running installation: what is wrong, and what to do", doctor.run),
    Verb("balance", "print the books of the ledger, and whether they hold", balance.run),
    Verb(
        "canary",
        "send a synthetic message through a web process, and see it answered",
        canary.run,
        canary.arguments,
    ),
    Verb("fleet", "print every live process, and what they disagree about", fleet.run),
    Verb(
        "model",
        "say whether models may be asked; switch them off or on",
        model.run,
        model.arguments,
    ),
    Verb("trace", "say where a message is, step by step", trace.run, trace.arguments),
    Verb("dead", "list, show, replay or discard what was not answered", dead.run, dead.arguments),
    Verb("alerts", "print what a person was or must be told", alerts.run, alerts.arguments),
    Verb("erase", "forget a customer, and say what remains", erase.run, erase.arguments),
    Verb("audit", "hold the books against what is really kept", audit.run),
)
