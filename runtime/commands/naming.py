"""Which conversation the operator means; what was typed is neither shown nor logged."""

import re
from argparse import ArgumentParser
from collections.abc import Mapping

from batching.place import owner
from batching.store import Store
from runtime.accounts import AccountConfig
from runtime.commands.verb import Request, UsageError, open_accounts

CONVERSATION = re.compile(r"c_[0-9a-f]{24}")
_TYPED_NUMBER = re.compile(r"[+\d ().-]+")


def add_customer(parser: ArgumentParser) -> None:
    """Add --customer and --account."""
    parser.add_argument("--customer", metavar="ID", help="the customer's id as it was delivered")
    parser.add_argument("--account", metavar="ACCOUNT", help="the account that was written to")


def conversations(request: Request, store: Store) -> list[str]:
    """Return the conversations of --customer, likeliest first. Raise UsageError.

    A customer may be known by a second id, and have written under it before it was known for one.
    """
    account_id = one_account(request)
    found: dict[str, None] = {}
    for spelling in _spellings(request.arguments.customer):
        found[owner(store, account_id, spelling)] = None
        found[store.conversation_id(account_id, spelling)] = None
    return list(found)


def one_account(request: Request) -> str:
    """Return the account of --account, or the only one there is. Raise UsageError."""
    configs = open_accounts(request.environ)
    given: str | None = request.arguments.account
    if given is None and len(configs) == 1:
        return next(iter(configs))
    return _known(configs, given)


def _known(configs: Mapping[str, AccountConfig], given: str | None) -> str:
    if given is None or given not in configs:
        raise UsageError(f"--account must be one of: {', '.join(configs)}")
    return given


def account_ids(request: Request) -> list[str]:
    """Return --account alone, or all accounts. Raise UsageError."""
    configs = open_accounts(request.environ)
    given: str | None = request.arguments.account
    return list(configs) if given is None else [_known(configs, given)]


def _spellings(customer: str) -> list[str]:
    """Return the ids that may be meant: as typed; a number also as Meta and WhatsApp Web write it.

    National prefixes are not guessed: a number must be typed with its country code.
    """
    digits = re.sub(r"\D", "", customer)
    if digits and _TYPED_NUMBER.fullmatch(customer):
        return list(dict.fromkeys((customer, digits, f"{digits}@c.us")))
    return [customer]
