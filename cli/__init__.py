"""The operator's verbs; ``VERBS`` lists them for manage.py."""

from cli import alerts, canary, check, dead, handovers, rights, status, trace, trial, window
from cli.common import Verb, add_conversation, run_action

#: Of a verb that returned whether all is well.
EXIT_OK, EXIT_ACT = 0, 1
VERBS = (
    Verb(
        "check",
        "check settings, accounts and Redis before anything starts",
        check.check,
        check.arguments,
    ),
    Verb("variables", "print which variables each role needs, by name", check.variables),
    Verb("doctor", "check the running installation: what is wrong, and what to do", check.doctor),
    Verb("balance", "print the ledger's counters, and whether they add up", status.show_balance),
    Verb(
        "canary",
        "send a synthetic message through a web process, and see it answered",
        canary.run,
        canary.arguments,
    ),
    Verb(
        "trial",
        "send canaries through a release on trial, and see each answered once",
        trial.run,
        trial.arguments,
    ),
    Verb("fleet", "print every live process, and what they disagree about", status.show_fleet),
    Verb(
        "model",
        "print whether models may be asked; switch them off or on",
        status.show_model,
        status.add_model,
    ),
    Verb("trace", "print where a message is, step by step", trace.run, trace.arguments),
    Verb(
        "dead",
        "list, show, replay, discard or hold dead letters",
        run_action,
        dead.arguments,
    ),
    Verb(
        "handovers",
        "list customers who wait for a person, or have us answer them again",
        run_action,
        handovers.arguments,
    ),
    Verb(
        "alerts",
        "print alerts and whether they were delivered; acknowledge those that are open",
        alerts.run,
        alerts.arguments,
    ),
    Verb(
        "notify",
        "try where people are told: Sentry and each address of NOTIFY_URLS",
        run_action,
        alerts.notify_arguments,
    ),
    Verb(
        "bursts",
        "print what customers wrote when: times, lengths and kinds, no words",
        window.run_bursts,
        window.burst_arguments,
    ),
    Verb(
        "replay-window",
        "print what another debounce window makes of bursts",
        window.run,
        window.arguments,
    ),
    Verb("export", "print all that is kept of a customer", rights.run_export, add_conversation),
    Verb("erase", "delete all that is kept of a customer", rights.run_erase, rights.add_erase),
    Verb("audit", "compare the counters with what is really kept", status.show_audit),
)
