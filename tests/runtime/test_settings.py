import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import pytest
from pydantic import ValidationError

from batching.errors import ConfigurationError
from batching.model import Budget, Limits, Timing
from runtime.settings import (
    RENAMED,
    AccountLimits,
    Settings,
    former_names,
    load_settings,
    process_environment,
)

STRONG = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
STRONGER = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
#: The same on every machine: it is compared between processes.
DEFAULT_FINGERPRINT = "2ece6560b768"
PRODUCTION = {"ENVIRONMENT": "production", "PRIVACY_KEY": STRONG}


def mistakes(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    assert caught.value.code == "settings"
    return caught.value.detail.splitlines()


def test_empty_environment_gives_the_documented_defaults() -> None:
    """Each default stands in docs/reference.md, which tests/test_docs.py compares."""
    settings = load_settings({"BATCH_IDLE_MS": "", "SENTRY_DSN": ""})

    assert settings == load_settings({}) == Settings()
    assert (settings.limits(), settings.timing()) == (Limits(), Timing())
    assert settings.budget() == Budget(60, 100, 2_000, 10_000)
    assert settings.fingerprint_with() == DEFAULT_FINGERPRINT


def test_settings_become_limits_and_timing() -> None:
    limits = Limits(1_000, 3, 2_000, 30_000, 40_000, 10_000, 2)
    environ = {f"BATCH_{name.upper()}": str(value) for name, value in asdict(limits).items()}

    settings = load_settings(environ | {"BATCH_WAKE_UP_MS": "500", "BATCH_AMBIGUOUS_MS": "1500"})

    assert settings.limits() == limits
    assert settings.timing() == Timing(wake_up_ms=500, ambiguous_ms=1_500)


def test_account_may_override_every_limit_within_the_bounds_of_its_setting() -> None:
    """A limit that is added to Limits and Settings needs nothing else."""
    assert list(AccountLimits.model_fields) == [field.name for field in fields(Limits)]
    for name in AccountLimits.model_fields:
        bounds = Settings.model_fields[f"batch_{name}"].metadata
        with pytest.raises(ValidationError, match=re.escape(str(*bounds))):
            AccountLimits.model_validate({name: -1})


def test_settings_cannot_be_changed() -> None:
    settings = load_settings({})

    with pytest.raises(ValueError, match="frozen"):
        settings.batch_idle_ms = 1


UNREADABLE = (
    "must be an address such as redis://127.0.0.1:6379/0; "
    "in a password write / as %2F, @ as %40, : as %3A, ? as %3F, # as %23, % as %25"
)
SCHEMES = "must begin with redis://, rediss://, unix://"


@pytest.mark.parametrize(
    "line",
    [
        "BATCH_LEASE_MS=999: must be 1000..600000",
        "BATCH_LEASE_MS=600001: must be 1000..600000",
        "BATCH_IDLE_MS=nine: must be 100..600000",
        "BATCH_SHARDS=2.5: must be 1..1024",
        "BUDGET_ACCOUNT_DAY=0: must be 1..1000000",
        "RELEASE=a b: must be 1..64 letters, digits or . _ + @ -",
        "LOG_LEVEL=loud: must be one of DEBUG, INFO, WARNING, ERROR",
        "ENVIRONMENT=prod: must be one of development, test, demo, staging, production",
        f"REDIS_URL=http://host/0: {SCHEMES}",
        "REDIS_URL=redis://:6379/0: must name a host, such as 127.0.0.1",
        "REDIS_URL=unix://?db=1: must name a socket, such as unix:///run/valkey/valkey.sock?db=0",
        f"BROKER_URL=kafka://host: {SCHEMES}, amqp://, amqps://",
        "BATCH_MAX_WAIT_MS=8999: must be at least BATCH_IDLE_MS=9000",
        "BATCH_OVERDUE_MS=44999: must be at least BATCH_MAX_WAIT_MS=45000",
        "BATCH_REPLY_DEADLINE_MS=119999: must be at least BATCH_OVERDUE_MS=120000",
    ],
)
def test_mistake_names_setting_value_and_limit(line: str) -> None:
    name, value = line.partition(": must")[0].split("=", 1)

    assert mistakes({name: value}) == [line]


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"BATCH_COLOUR": "red"}, "BATCH_COLOUR: is not a setting"),
        (
            {"BUDGET_ACOUNT_DAY": "1"},
            "BUDGET_ACOUNT_DAY: is not a setting; did you mean BUDGET_ACCOUNT_DAY?",
        ),
        (
            {"AI_ADMIN_REDIS_URL": "x"},
            "AI_ADMIN_REDIS_URL: is not a setting; did you mean REDIS_URL?",
        ),
        (
            {"CANARY_URL": "http://key@host"},
            "CANARY_URL=http://***@host: must look like https://HOST, where our webhooks are",
        ),
        (
            {"REDIS_URL": "redis://host/zero"},
            "REDIS_URL=redis://host/***: must end with the number of a database, such as /0",
        ),
        (
            {"REDIS_URL": "redis://h:p/0"},
            f"REDIS_URL=redis://***: {UNREADABLE}",
        ),
        ({"SENTRY_DSN": "key"}, "SENTRY_DSN: must look like https://KEY@HOST/PROJECT"),
        (
            {"PRIVACY_KEY": "\u043a\u043b\u044e\u0447"},
            "PRIVACY_KEY: must be at most 256 printable ASCII characters",
        ),
        (
            {"REDIS_URL": "redis://:pass@host/0?socket_timeout=90"},
            "REDIS_URL=redis://***@host/0?***: options other than db and ssl_* are not allowed",
        ),
        (
            {"BATCH_LEASE_MS": "600000", "BATCH_REPLY_DEADLINE_MS": "130000"},
            "BATCH_REPLY_DEADLINE_MS=130000: must be at least BATCH_LEASE_MS=600000",
        ),
        # Not compared with BATCH_IDLE_MS: its default would be, and the reader never wrote that.
        (
            {"BATCH_IDLE_MS": "100000", "BATCH_MAX_WAIT_MS": "soon"},
            "BATCH_MAX_WAIT_MS=soon: must be 100..3600000",
        ),
        (
            {"ENVIRONMENT": "production"},
            "PRIVACY_KEY: is missing; make one with: openssl rand -hex 32",
        ),
        (
            PRODUCTION | {"CONSOLE_TOKEN": STRONG},
            "CONSOLE_TOKEN: must not be the same as PRIVACY_KEY",
        ),
    ],
)
def test_mistake_shows_no_value_that_is_secret_or_not_meant(
    environ: dict[str, str], line: str
) -> None:
    assert mistakes(environ) == [line]


def test_all_mistakes_are_reported_at_once() -> None:
    """Correcting one line at a time would take a restart for each."""
    found = mistakes(
        {
            "BATCH_LEASE_MS": "500",
            "BATCH_MAX_WAIT_MS": "1000",
            "BATCH_IDLE": "9000",
            "LOG_LEVEL": "loud",
            "BROKER_URL": "redis://127.0.0.1:6379/0",
        }
    )

    assert found == [
        "BATCH_IDLE: is not a setting; did you mean BATCH_IDLE_MS?",
        "LOG_LEVEL=loud: must be one of DEBUG, INFO, WARNING, ERROR",
        "BATCH_LEASE_MS=500: must be 1000..600000",
        "BATCH_MAX_WAIT_MS=1000: must be at least BATCH_IDLE_MS=9000",
        (
            "BROKER_URL=redis://127.0.0.1:6379/0: must not be the database of REDIS_URL: "
            "the broker's upkeep would block the ledger"
        ),
    ]


@pytest.mark.parametrize(
    ("ledger", "broker", "one_database"),
    [
        ("redis://127.0.0.1:6379/0", "redis://localhost", True),
        ("redis://redis.internal/2", "redis://:pw@REDIS.internal:6379/2", True),
        ("redis://redis.internal/?db=2", "rediss://redis.internal/2", True),
        ("unix:///run/valkey.sock?db=1", "unix:///run/valkey.sock?db=1", True),
        ("redis://127.0.0.1/0", "redis://127.0.0.1/1", False),
        ("redis://127.0.0.1/0", "redis://127.0.0.1:6380/0", False),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock?db=1", False),
        ("redis://127.0.0.1/0", "amqp://user:pw@127.0.0.1/%2F?heartbeat=5", False),
        ("rediss://r.example:6380/0?ssl_cert_reqs=required", "redis://127.0.0.1/0", False),
    ],
)
def test_ledger_and_broker_must_not_share_a_database(
    ledger: str, broker: str, *, one_database: bool
) -> None:
    environ = {"REDIS_URL": ledger, "BROKER_URL": broker}

    if one_database:
        (line,) = mistakes(environ)
        assert "must not be the database of REDIS_URL" in line
    else:
        assert load_settings(environ).broker_url == broker


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("short", "has 5 characters: must be at least 32"),
        ("change-me-change-me-change-me-1234", "looks like a placeholder"),
        ("a" * 64, "looks like a placeholder"),
        ("<your-privacy-key-of-32-characters>", "looks like a placeholder"),
        ("ThisIsAnEXAMPLEofAKeyWithEnoughLetters", "looks like a placeholder"),
    ],
)
@pytest.mark.parametrize("name", ["PRIVACY_KEY", "CONSOLE_TOKEN"])
def test_production_refuses_a_weak_secret(name: str, secret: str, problem: str) -> None:
    (line,) = mistakes(PRODUCTION | {name: secret})

    assert line.startswith(f"{name}: {problem}")
    assert secret not in line


@pytest.mark.parametrize("more", [{}, {"CONSOLE_TOKEN": STRONGER}])
def test_production_accepts_strong_secrets(more: dict[str, str]) -> None:
    assert load_settings(PRODUCTION | more).is_production


@pytest.mark.parametrize(("former", "name"), RENAMED.items())
def test_former_name_of_a_setting_still_works(former: str, name: str) -> None:
    value = str(getattr(load_settings({}), name.lower()) + 1)

    assert load_settings({former: value}) == load_settings({name: value})
    assert load_settings({former: value, name: value}) == load_settings({name: value})
    assert former_names({former: value}) == {former: name}
    assert former_names({former: "", name: value}) == {}
    assert mistakes({former: value, name: "9000"}) == [
        f"{former}: is the former name of {name}, which has another value: remove it"
    ]
    assert mistakes({former: "no"})[0].startswith(f"{name}=no: must be ")


def test_secrets_stay_out_of_repr_and_mistakes() -> None:
    environ = {
        "PRIVACY_KEY": STRONG,
        "CONSOLE_TOKEN": STRONGER,
        "SENTRY_DSN": "https://dsn-key@sentry.example/1",
        "REDIS_URL": "redis://:redis-pass@127.0.0.1/0",
        "BROKER_URL": "redis://:broker-pass@127.0.0.1/1",
    }
    broken = environ | {
        "PRIVACY_KEY": STRONG * 9,
        "SENTRY_DSN": "dsn-key",
        "REDIS_URL": "redis://:redis-pass@127.0.0.1/zero",
        "BROKER_URL": "redis://broker-pass@127.0.0.1/one?password=broker-pass",
    }

    shown = repr(load_settings(environ)) + str(load_settings(environ)) + "".join(mistakes(broken))

    for secret in (STRONG, STRONGER, "dsn-key", "redis-pass", "broker-pass"):
        assert secret not in shown


def credential(
    monkeypatch: pytest.MonkeyPatch, directory: Path, text: str | None
) -> Mapping[str, str]:
    """Return what a process reads that systemd handed ``text`` to; None for a directory alone."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    if text is not None:
        (directory / "secrets").write_text(text)
    return process_environment(directory / ".env")


@pytest.mark.parametrize(
    ("text", "environ", "found"),
    [
        ('{"AA_KEY": "from systemd"}', None, "from systemd"),
        # It contains what an environment could not: no quoting, no line end is read into it.
        ('{"AA_KEY": "a\\"b\\\\c$d ${HOME}\\n"}', None, 'a"b\\c$d ${HOME}\n'),
        ('{"AA_KEY": "from systemd"}', "", "from systemd"),
        ('{"AA_KEY": "from systemd"}', "from outside", "from outside"),
        ("{}", "from outside", "from outside"),
        ("{}", None, None),
        (None, None, None),
    ],
)
def test_credential_gives_what_the_environment_does_not(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: str | None,
    environ: str | None,
    found: str | None,
) -> None:
    """An instance of a deployment of before is handed an empty one, and reads its environment."""
    if environ is not None:
        monkeypatch.setenv("AA_KEY", environ)

    assert credential(monkeypatch, tmp_path, text).get("AA_KEY") == found


@pytest.mark.parametrize("text", ["", "value-of-a-key", '["value-of-a-key"]', '{"AA_KEY": 1}'])
def test_credential_of_another_form_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        credential(monkeypatch, tmp_path, text)

    assert caught.value.detail == (
        "the credential secrets: must be a JSON object of texts, which this process may read"
    )


def test_no_credential_is_looked_for_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("AA_KEY", "from outside")

    assert process_environment(Path("there-is-none"))["AA_KEY"] == "from outside"


@pytest.mark.parametrize(
    ("name", "value", "must_agree"),
    [
        ("BATCH_IDLE_MS", "9001", True),
        ("BATCH_SHARDS", "2", True),
        ("BUDGET_ACCOUNT_DAY", "1", True),
        ("PRIVACY_KEY", "another-key", True),
        ("ENVIRONMENT", "staging", True),
        ("REDIS_URL", "redis://localhost:6379/0", False),
        ("RELEASE", "r2", False),
        ("LOG_LEVEL", "DEBUG", False),
        ("FLUSH_TICK_MS", "60", False),
    ],
)
def test_fingerprint_changes_with_what_processes_must_agree_on(
    name: str, value: str, *, must_agree: bool
) -> None:
    changed = load_settings({name: value}).fingerprint_with() != DEFAULT_FINGERPRINT

    assert changed is must_agree
