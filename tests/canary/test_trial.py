"""A release on trial: what it does wrong shows in canaries, and only there."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest
import redis

from batching import flow
from batching.errors import PermanentError
from batching.model import CANARY_ACCOUNT, Exchange, Outbound
from batching.ports import Account
from batching.store import Store
from canary.channel import CUSTOMER, webhook_secret
from canary.probe import Probe
from canary.trial import forget, run_trial
from runtime.build import Runtime, build
from tests.canaries import PAUSE_S, served, working
from tests.fakes import FakeQueue


@pytest.fixture
def service(demo_environ: dict[str, str]) -> Iterator[Runtime]:
    built = build("web", demo_environ)
    yield built
    built.store.client.connection_pool.disconnect()


@pytest.fixture
def on_trial(demo_environ: dict[str, str]) -> Iterator[Runtime]:
    built = build("web", demo_environ | {"TRIAL": "1"})
    yield built
    built.store.client.connection_pool.disconnect()


@dataclass(frozen=True)
class Accounts:
    """Those of a runtime, each changed as a bad release has it."""

    runtime: Runtime
    change: Callable[[Account], Account]

    def get(self, account_id: str) -> Account | None:
        account = self.runtime.accounts.get(account_id)
        return account and self.change(account)


@dataclass(frozen=True)
class Channel:
    """Sends an answer as often as ``times`` says for so many messages."""

    account: Account
    times: Callable[[int], int]

    def split(self, text: str) -> list[str]:
        return self.account.channel.split(text)

    def send(self, outbound: Outbound) -> str:
        for _ in range(self.times(len(outbound.answers))):
            self.account.channel.send(outbound)
        return "sent"


class Speechless:
    """A model that every question is too much for."""

    def answer(self, _history: Sequence[Exchange], _turn: str, *, now_ms: int) -> str:
        raise PermanentError("model_broken", str(now_ms))


def sending(times: Callable[[int], int]) -> Callable[[Account], Account]:
    return lambda account: replace(account, channel=Channel(account, times))


def trial_of(runtime: Runtime, url: str, *, wait_ms: int = 20_000) -> tuple[int, str]:
    with httpx2.Client(trust_env=False) as http:
        probe = Probe(runtime.store, secret=webhook_secret(runtime.settings.privacy_key), http=http)
        pause = threading.Event()
        return run_trial(
            runtime.store,
            probe,
            url,
            wait_ms=wait_ms,
            least_ms=1,
            pause=lambda: bool(pause.wait(PAUSE_S)),
        )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(lambda account: account, (4, ""), id="sound"),
        pytest.param(
            sending(lambda n: 0 if n > 1 else 1), (0, "ended, and the sink"), id="forgets"
        ),
        pytest.param(sending(lambda _: 0), (0, "ended, and the sink"), id="silent"),
        pytest.param(
            sending(lambda n: 2 if n > 1 else 1), (0, "a canary was answered 2 times"), id="repeats"
        ),
        pytest.param(
            sending(lambda n: 2 if n == 1 else 1),
            (3, "a canary was answered 2 times"),
            id="repeats single ones",
        ),
        pytest.param(
            lambda account: replace(account, model=Speechless()),
            (0, "ended, and the sink"),
            id="cannot answer",
        ),
    ],
)
def test_release_passes_only_if_each_canary_comes_out_once(
    on_trial: Runtime, change: Callable[[Account], Account], found: tuple[int, str]
) -> None:
    workers = replace(on_trial, accounts=Accounts(on_trial, change))  # type: ignore[arg-type]
    with served(on_trial) as url, working(workers):
        answered, wrong = trial_of(on_trial, url)

    assert (answered, wrong[: len(found[1])]) == found
    assert bool(wrong) == bool(found[1])


@pytest.mark.parametrize(
    ("serving", "step"),
    [("web", "append: open, and not collected"), ("", "webhook: no answer")],
    ids=["no worker works", "no web serves"],
)
def test_release_that_hangs_is_refused_with_where_the_canary_was_last_seen(
    on_trial: Runtime, serving: str, step: str
) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(served(on_trial)) if serving else "http://127.0.0.1:1"
        answered, wrong = trial_of(on_trial, url, wait_ms=1)

    assert (answered, wrong[: len(step)]) == (0, step)


def kept(client: redis.Redis) -> dict[str, bytes | None]:
    """Return all that is no trial's and no sink's, by its key."""
    names = sorted(name.decode() for name in client.scan_iter(count=1_000))
    others = [name for name in names if not re.match(r"\{aa1\.trial\.canary\}:|aa:canary:", name)]
    dump: Any = client.dump
    return {name: dump(name) for name in others}


def test_trial_forgets_what_the_one_before_left(
    service: Runtime, on_trial: Runtime, client: redis.Redis
) -> None:
    """A batch of a release that hung would else hold up the canaries of the next."""
    conversation_id = on_trial.store.conversation_id(CANARY_ACCOUNT, CUSTOMER)
    with served(on_trial) as url:
        trial_of(on_trial, url, wait_ms=1)
    flow.flush(on_trial.store, FakeQueue())
    before = kept(client)
    assert on_trial.store.peek(conversation_id) != Store.peek(service.store, conversation_id)

    forget(on_trial.store)

    assert [name for name in client.scan_iter() if b"trial" in name] == []
    assert kept(client) == before
    with pytest.raises(ValueError, match="canary"):
        forget(service.store)
