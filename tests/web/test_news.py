"""What Meta reports of a business account reaches its own accounts, and makes no host unready."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from runtime.build import Runtime
from tests.web.conftest import Start
from tests.webhooks import APP_SECRET, Caller, body
from web import create_app

DELETED = body({"field": "account_update", "value": {"event": "ACCOUNT_DELETED"}})


def alerts(runtime: Runtime) -> list[tuple[str, str]]:
    """Return kind and account of every alert."""
    client: Any = runtime.store.client
    entries = client.xrange(runtime.store.keyring.shards[0].alerts)
    return [(entry[b"kind"].decode(), entry[b"account"].decode()) for _, entry in entries]


def test_lost_channel_is_a_detail_of_readiness(
    http: falcon.testing.TestClient, caller: Caller, runtime: Runtime
) -> None:
    """An account's banned number must not take the others' web hosts out."""
    for shard in runtime.store.keyring.all_shards:
        runtime.store.collect(shard, limit=1)

    posted = caller.cloud(DELETED)
    ready = http.simulate_get("/readyz")

    assert (posted.status_code, ready.status_code) == (200, 200)
    check = ready.json["checks"]["channels"]
    assert (check["ok"], ready.json["status"]) == (False, "ready")
    assert check["says"].startswith("salon: the WhatsApp Business account was deleted (cloud_")
    assert alerts(runtime) == [("channel_lost", "salon")]


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"salon": "200000000000001"}, [("channel_lost", "salon")]),
        (
            dict.fromkeys(("salon", "barber"), "200000000000001"),
            [("channel_lost", "salon"), ("channel_lost", "barber")],
        ),
        # Meta names neither of them.
        ({}, [("channel_warning", "")]),
        ({"salon": "200000000000002"}, [("channel_warning", "")]),
    ],
)
def test_news_is_for_the_accounts_of_the_business_account_that_it_names(
    environ: Mapping[str, str], start: Start, groups: dict[str, str], told: list[tuple[str, str]]
) -> None:
    path = Path(environ["ACCOUNTS_FILE"])
    text = path.read_text()
    for account, group in groups.items():
        named = f'id = "{account}"\n'
        text = text.replace(named, f'{named}business_account_id = "{group}"\n')
    path.write_text(text)
    runtime = start(BARBER_SECRET=APP_SECRET)

    posted = Caller(falcon.testing.TestClient(create_app(runtime))).cloud(DELETED)

    assert posted.status_code == 200
    assert alerts(runtime) == told
