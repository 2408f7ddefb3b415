"""What strangers may not read, and the ways round a proxy that publishes webhooks alone."""

import falcon.testing
import pytest
import redis

from runtime.build import Runtime
from tests.web.conftest import Start
from tests.web.server import WebServer
from tests.webhooks import code
from web import create_app

TOKEN = "5c1f0e9d8b7a69584c3b2a190f8e7d6c"
PRIVATE = ("/fleet", "/metrics")
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
STRANGERS: list[dict[str, str]] = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": f"Bearer {TOKEN[:-1]}"},
    {"Authorization": f"Bearer {TOKEN}{TOKEN}"},
    {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": TOKEN},
    {"Authorization": "Bearer \xe9\xff"},
    {"X-Forwarded-For": "127.0.0.1", "Host": "localhost", "X-Webhook-Secret": TOKEN},
]


def asked(runtime: Runtime, headers: dict[str, str]) -> list[falcon.testing.Result]:
    client = falcon.testing.TestClient(create_app(runtime))
    return [client.simulate_get(path, headers=headers) for path in (*PRIVATE, "/readyz", "/livez")]


@pytest.mark.parametrize("headers", STRANGERS)
def test_stranger_reads_whether_it_serves_and_nothing_else(
    start: Start, headers: dict[str, str]
) -> None:
    runtime = start("web", CONSOLE_TOKEN=TOKEN)

    *private, ready, alive = asked(runtime, headers)

    assert [code(result) for result in private] == [(401, "token")] * len(PRIVATE)
    assert (ready.status_code, ready.json) == (503, {"status": "not ready"})
    assert (alive.status_code, alive.json) == (200, {"status": "alive"})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_operator_with_the_token_reads_everything(start: Start, scheme: str) -> None:
    runtime = start("web", CONSOLE_TOKEN=TOKEN)

    *private, ready, _ = asked(runtime, {"Authorization": f"{scheme} {TOKEN}"})

    assert [result.status_code for result in private] == [200] * len(PRIVATE)
    assert set(ready.json) == {"status", "checks", "release", "fingerprint"}


@pytest.mark.parametrize(
    ("environment", "status"),
    [("development", 200), ("test", 200), ("demo", 200), ("staging", 401)],
)
def test_without_a_token_only_a_developers_machine_is_open(
    start: Start, environment: str, status: int
) -> None:
    runtime = start("web", ENVIRONMENT=environment)

    *private, ready, _ = asked(runtime, {"Authorization": "Bearer "})

    assert [result.status_code for result in private] == [status] * len(PRIVATE)
    assert ("checks" in ready.json) is (status == 200)


@pytest.mark.slow
@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("target", "header"),
    [
        ("/webhooks/fleet", "SCRIPT_NAME: /webhooks"),
        ("/webhooks/metrics", "Script_Name: /webhooks"),
        ("/webhooks/", "PATH_INFO: /fleet"),
        ("/webhooks/x", "X_Original_Url: /fleet"),
        ("/webhooks/x", "X-Original-URL: /fleet"),
        ("/webhooks/x", "X-Rewrite-URL: /fleet"),
        ("/webhooks/fleet", "X-Forwarded-Prefix: /webhooks"),
        ("/webhooks/fleet", "X-Script-Name: /webhooks"),
        *(
            (target, "X-A: 1")
            for target in (
                "//fleet",
                "///fleet",
                "//x/fleet",
                "/%2ffleet",
                "/%2f%2ffleet",
                "/./fleet",
                "/webhooks/../fleet",
                "/webhooks/%2e%2e/fleet",
                "/webhooks%2f..%2ffleet",
                "/webhooks//fleet",
                "/fleet/",
                "/fleet%00",
                "/fleet%20",
                "/fleet;x",
                "/FLEET",
                "/%5cfleet",
            )
        ),
    ],
)
def test_no_header_and_no_spelling_leads_to_another_address(
    server: WebServer, target: str, header: str
) -> None:
    """The caller is on the loopback, as a proxy is; the pages are open, so paths alone decide."""
    said = f"GET {target} HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n"

    answer = server.talk(said.encode())

    assert answer.split(b" ")[1] in (b"401", b"404", b"405", b"400"), answer
    assert b"members" not in answer
    assert b"ai_admin_" not in answer


@pytest.mark.slow
def test_forwarding_headers_tell_the_application_nothing(
    server: WebServer, client: redis.Redis
) -> None:
    """A 200 for the webhook's own address, whatever the headers claim."""
    del client
    said = (
        b"GET /fleet HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /webhooks\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Protocol: ssl\r\nX-Forwarded-Ssl: off\r\nConnection: close\r\n\r\n"
    )

    assert server.talk(said).split(b" ")[1] == b"200"
