"""No part of a password is shown, however an address is written, and wherever it is printed."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from batching.errors import ConfigurationError
from config.urls import hide_urls, is_link_local, is_local, shown_url, url_parts
from runtime.accounts import load_accounts
from runtime.logs import EventFormatter
from runtime.settings import load_settings
from tests.cli.conftest import ROOT, TIMEOUT_S

#: Each holds PASS or WORD, the two ends of a password that nothing escaped.
UNPARSABLE = [
    "{scheme}://:PASS/WORD@cache.example/0",
    "{scheme}://user:PASS/WORD@cache.example:6379/0",
    "{scheme}://user:PASS@WORD@cache.example/0",
    "{scheme}://user:PASS#WORD@cache.example/0",
    "{scheme}://user:PASS?WORD@cache.example/0",
    "{scheme}://user:PASS[WORD@cache.example/0",
    "{scheme}://user:PASS WORD@cache.example/0",
    "{scheme}://user:PASS:WORD@cache.example:port/0",
    "{scheme}://user:12/PASSWORD@cache.example/0",
    "{scheme}://user#PASSWORD@cache.example/0",
    "{scheme}://user?PASSWORD@cache.example/0",
    "{scheme}://cache.example:PASSWORD/0",
    "{scheme}://cache.example/PASS@WORD",
    "{scheme}://cache.example/0?password=PASS@WORD",
    "{scheme}://cache.example:99999/PASSWORD",
    "{scheme}:/user:PASSWORD@cache.example/0",
    "user:PASSWORD@cache.example",
    "PASSWORD",
]
HIDDEN = [
    "redis://user:PASSWORD@cache.example/0",
    "redis://PASSWORD@cache.example/0",
    "unix://user:PASSWORD@/run/valkey.sock",
    "redis://cache.example/0?ssl_password=PASSWORD",
    "https://hooks.example/services/T0/PASSWORD",
]
SETTINGS = [("REDIS_URL", "redis"), ("BROKER_URL", "redis"), ("BROKER_URL", "amqp")]
SETTINGS += [("CANARY_URL", "https")]


def reveals(text: str) -> bool:
    return "PASS" in text or "WORD" in text


@pytest.mark.parametrize("form", [*UNPARSABLE, *HIDDEN])
def test_address_is_shown_without_its_secrets(form: str) -> None:
    url = form.format(scheme="redis")

    assert not reveals(shown_url(url))
    if "://" in url:
        assert not reveals(hide_urls(f"cannot connect to '{url}'."))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:p@cache.example:6379/2", "redis://***@cache.example:6379/2"),
        ("rediss://[::1]/0?db=3", "rediss://[::1]/0?db=3"),
        ("unix:///run/valkey.sock?db=1", "unix:///run/valkey.sock?db=1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://graph.facebook.com/v25.0", "https://graph.facebook.com/***"),
    ],
)
def test_server_and_database_of_an_address_are_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert hide_urls(f"Listening at: {url}, as told (7).") == f"Listening at: {shown}, as told (7)."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("no address: a@b", "no address: a@b"),
        ("redis://:a b@h/0, then\nc@d", "redis://***, then\nc@d"),
        ("redis://:a@h/0\nredis://:b@h/1", "redis://***@h/0\nredis://***@h/1"),
        ("(see redis://:a@h/0).", "(see redis://***@h/0)."),
        ("x://", "x://"),
        ("at http://", "at http://"),
        ("http://" + "@" * 2_000, "http://***"),
    ],
)
def test_every_address_in_a_text_is_shown_alike(text: str, shown: str) -> None:
    assert hide_urls(text) == shown


@pytest.mark.parametrize("form", UNPARSABLE)
@pytest.mark.parametrize(("name", "scheme"), SETTINGS)
def test_setting_that_cannot_be_read_is_refused_and_not_repeated(
    name: str, scheme: str, form: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({name: form.format(scheme=scheme)})

    assert caught.value.detail.startswith(f"{name}=")
    assert not reveals(caught.value.detail)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:p@broker.example/?heartbeat=PASSWORD",
        "amqp://user:p@broker.example/?heartbeat=1&heartbeat=2",
        "amqp://user:p@broker.example/?PASSWORD=1",
        "amqps://user:p@broker.example/?ssl_options=%7B%27password%27%3APASSWORD",
        "amqps://user:p@broker.example/?ssl_options=PASSWORD",
        "amqps://user:p@broker.example/?ssl_options=%22PASSWORD%22",
        "amqp://PASSWORD@broker.example/",
        "rediss://:p@cache.example/0?ssl_cert_reqs=PASSWORD",
        "rediss://:p@cache.example/0?ssl_min_version=PASSWORD",
        "rediss://:p@cache.example/0?ssl_PASSWORD=1",
        "redis://:p@cache.example/0?ssl_cert_reqs=required",
    ],
)
def test_option_that_a_client_would_choke_on_is_refused_and_not_repeated(url: str) -> None:
    """The client's exception would quote it, in a traceback at the start."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"BROKER_URL": url})

    assert caught.value.detail.startswith("BROKER_URL=")
    assert not reveals(caught.value.detail)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:p@127.0.0.1/%2F?heartbeat=5&socket_timeout=2.5",
        "amqps://user:p@127.0.0.1/v?ssl_options=%7B%27server_hostname%27%3A+%27b%27%7D",
        "amqp://127.0.0.1",
        "rediss://:p@127.0.0.1/1?ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs=/ca.pem",
        "unix://user:p@/run/valkey.sock?db=1",
    ],
)
def test_address_that_is_taken_is_one_that_its_client_reads(url: str) -> None:
    settings = load_settings({"BROKER_URL": url})

    assert settings.broker_url == url


@pytest.mark.parametrize("name", ["LOG_LEVEL", "RELEASE", "BATCH_IDLE_MS", "ACCOUNTS_FILE"])
def test_address_in_the_wrong_setting_is_not_repeated(name: str) -> None:
    environ = {name: "redis://user:PASSWORD@cache.example/0"}

    with pytest.raises(ConfigurationError) as caught:
        load_accounts(load_settings(environ), environ)

    assert caught.value.detail.startswith(f"{name}=redis:/")
    assert not reveals(caught.value.detail)


@pytest.mark.parametrize("key", ["api_url", "base_url", "prompt_file", "timezone", "channel"])
@pytest.mark.parametrize(
    "form", ["https://u:PASS/WORD@gw.example/", "https://u:PASSWORD@gw.example"]
)
def test_address_in_the_accounts_file_is_not_repeated(
    accounts_file: Path, key: str, form: str
) -> None:
    text = accounts_file.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(f"{key} =")]
    first = lines.index("[account.model]" if key == "base_url" else "[[account]]")
    lines.insert(first + 1, f'{key} = "{form}"')
    accounts_file.write_text("\n".join(lines))

    with pytest.raises(ConfigurationError) as caught:
        load_accounts(load_settings({"ACCOUNTS_FILE": str(accounts_file)}), {})

    assert f"{key}=https://***" in caught.value.detail
    assert not reveals(caught.value.detail)


@pytest.mark.parametrize("form", ["redis://user:PASS/WORD@cache.example/0", HIDDEN[0]])
def test_log_line_has_no_password_of_an_address(form: str) -> None:
    record = logging.getLogger("redis").makeRecord(
        "redis", logging.ERROR, "file.py", 1, "cannot reach %s", (form,), None, extra={"to": form}
    )

    assert not reveals(EventFormatter(role="web", release="r1").format(record))


@pytest.mark.parametrize(
    "command",
    [
        ("manage.py", "check"),
        ("manage.py", "check", "--json"),
        ("manage.py", "doctor"),
        ("-m", "scheduler"),
        ("-m", "gunicorn", "--check-config", "wsgi:application"),
        ("-m", "dramatiq", "actors:main"),
    ],
    ids=" ".join,
)
def test_process_that_cannot_read_its_address_says_so_without_the_password(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    at_root = [str(ROOT / part) if part.endswith(".py") else part for part in command]

    done = subprocess.run(
        [sys.executable, *at_root],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": "redis://:PASS/WORD@cache.example/0",
            "BROKER_URL": "amqp://user:12/PASSWORD@cache.example/0",
            "CANARY_URL": "https://user:PASS/WORD@hooks.example",
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.returncode != 0
    said = done.stdout + done.stderr
    for name in ("REDIS_URL", "BROKER_URL", "CANARY_URL"):
        assert f"{name}=" in said
    assert not reveals(said)


@pytest.mark.parametrize(
    ("host", "link_local", "local"),
    [
        ("169.254.169.254", True, False),
        ("2852039166", True, False),
        ("0xa9fea9fe", True, False),
        ("0251.0376.0251.0376", True, False),
        ("169.254.43518", True, False),
        ("::ffff:169.254.169.254", True, False),
        ("64:ff9b::a9fe:a9fe", True, False),
        ("2002:a9fe:a9fe::1", True, False),
        ("fe80::1", True, False),
        ("fd00:ec2::254", True, False),
        ("100.100.100.200", True, False),
        ("metadata.google.internal", True, False),
        ("169-254-169-254.sslip.example", True, False),
        ("169.254.169.254.nip.example", True, False),
        ("0.0.0.0", True, False),  # noqa: S104 - no socket is bound
        ("::", True, False),
        ("255.255.255.255", True, False),
        ("224.0.0.1", True, False),
        ("localhost", False, True),
        ("gateway.localhost", False, True),
        ("127.1", False, True),
        ("::1", False, True),
        ("10.0.0.1", False, False),
        ("graph.facebook.com", False, False),
        ("metadata.example", False, False),
        ("gateway", False, False),
    ],
)
def test_host_is_known_however_its_address_is_written(
    host: str, *, link_local: bool, local: bool
) -> None:
    assert (is_link_local(host), is_local(host)) == (link_local, local)


def test_address_with_two_readings_is_none() -> None:
    assert url_parts("redis://user:12/x@cache.example/0") is None
    assert url_parts("redis://user:12%2Fx@cache.example/0") is not None
