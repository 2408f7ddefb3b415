"""The accounts of this installation: what is known of each, and each built once it is needed."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

from batching.limits import Budget, Limits
from batching.ports import Account
from runtime.account_config import AnyAccount, WhatsAppCloudAccount


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """An account ready to be built: limits resolved, prompt read, secrets found.

    ``business`` is the text of the prompt file. ``secrets`` prove a webhook, two while one
    replaces the other, none for the simulator. ``verify_token`` is "" where the channel has none.
    ``found`` holds every secret by the name of its variable.
    """

    account_id: str
    channel: str
    limits: Limits
    budget: Budget
    entry: AnyAccount
    business: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    verify_token: str = field(repr=False)
    found: dict[str, str] = field(repr=False)

    @property
    def language(self) -> str:
        """Return the language the account answers in, such as "en"."""
        return self.entry.language


class AccountBook:
    """Finds accounts; iterating gives their configurations in the order of the file.

    ``build`` makes an account of a configuration; it is called once for each account, when that
    is first asked for. ``limits`` are those of an account that nobody knows.
    """

    def __init__(
        self,
        configs: Sequence[AccountConfig],
        *,
        limits: Limits,
        build: Callable[[AccountConfig], Account],
    ) -> None:
        self._configs = {config.account_id: config for config in configs}
        self._by_number = {
            config.entry.phone_number_id: config.account_id
            for config in configs
            if isinstance(config.entry, WhatsAppCloudAccount)
        }
        self._limits = limits
        self._build = build
        self._built: dict[str, Account] = {}
        self._lock = Lock()

    def __iter__(self) -> Iterator[AccountConfig]:
        return iter(self._configs.values())

    def __len__(self) -> int:
        return len(self._configs)

    def get(self, account_id: str) -> Account | None:
        """Return the account, None if it is not configured."""
        config = self._configs.get(account_id)
        if config is None:
            return None
        with self._lock:
            if account_id not in self._built:
                self._built[account_id] = self._build(config)
            return self._built[account_id]

    def config(self, account_id: str) -> AccountConfig | None:
        """Return what is known of the account, None if it is not configured."""
        return self._configs.get(account_id)

    def by_phone_number_id(self, phone_number_id: str) -> str | None:
        """Return the id of the account with this number at Meta, None if there is none."""
        return self._by_number.get(phone_number_id)

    def limits_of(self, account_id: str) -> Limits:
        """Return the account's limits, those of the settings for one that is not configured."""
        config = self._configs.get(account_id)
        return self._limits if config is None else config.limits


def agreement(configs: Iterable[AccountConfig]) -> str:
    """Return all that processes must agree on, secrets included: for a keyed digest only."""
    return json.dumps(
        [
            [config.entry.model_dump(mode="json"), config.business, config.found]
            for config in configs
        ],
        sort_keys=True,
    )
