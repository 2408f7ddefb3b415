"""The operator's verbs. Each is a module with ``run``; ``VERBS`` lists them for manage.py.

A verb prints what it found and returns the exit status: 0 all is well, 1 a person must act,
2 the command itself was wrong (argparse).
"""

from runtime.commands import balance, check, doctor, fleet
from runtime.commands.verb import Verb

VERBS = (
    Verb("check", "look at settings, accounts and Redis before anything starts", check.run),
    Verb("doctor", "look at the running installation: what is wrong, and what to do", doctor.run),
    Verb("balance", "print the books of the ledger, and whether they hold", balance.run),
    Verb("fleet", "print every live process, and what they disagree about", fleet.run),
)
