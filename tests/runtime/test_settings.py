import re
from dataclasses import fields

import pytest
from pydantic import ValidationError

from batching.errors import ConfigurationError
from batching.model import Budget, Limits, Timing
from runtime.settings import RENAMED, AccountLimits, Settings, former_names, load_settings

STRONG = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
STRONGER = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
PRODUCTION = {"ENVIRONMENT": "production", "PRIVACY_KEY": STRONG}


def mistakes(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    assert caught.value.code == "settings"
    return caught.value.detail.splitlines()


def test_empty_environment_gives_the_documented_defaults() -> None:
    settings = load_settings({})

    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert settings.broker_url == "redis://127.0.0.1:6379/1"
    assert str(settings.accounts_file) == "accounts.toml"
    assert settings.flush_tick_ms == 50
    assert settings.limits() == Limits()
    assert settings.timing() == Timing()
    assert settings.budget() == Budget(60, 2_000, 10_000)
    assert not settings.is_production


def test_settings_become_limits_and_timing() -> None:
    settings = load_settings(
        {
            "BATCH_IDLE_MS": "1000",
            "BATCH_MAX_MESSAGES": "3",
            "BATCH_MAX_WAIT_MS": "2000",
            "BATCH_OVERDUE_MS": "30000",
            "BATCH_REPLY_DEADLINE_MS": "40000",
            "BATCH_LEASE_MS": "10000",
            "BATCH_MAX_ATTEMPTS": "2",
            "BATCH_WAKE_UP_MS": "500",
            "BATCH_AMBIGUOUS_MS": "1500",
        }
    )

    assert settings.limits() == Limits(1_000, 3, 2_000, 30_000, 40_000, 10_000, 2)
    assert settings.timing() == Timing(wake_up_ms=500, ambiguous_ms=1_500)


def test_account_may_override_every_limit_within_the_bounds_of_its_setting() -> None:
    """A limit that is added to Limits and Settings needs nothing else."""
    assert list(AccountLimits.model_fields) == [field.name for field in fields(Limits)]
    for name in AccountLimits.model_fields:
        bounds = Settings.model_fields[f"batch_{name}"].metadata
        with pytest.raises(ValidationError, match=re.escape(str(*bounds))):
            AccountLimits.model_validate({name: -1})


def test_empty_value_is_as_good_as_none() -> None:
    assert load_settings({"BATCH_IDLE_MS": "", "SENTRY_DSN": ""}) == load_settings({})


def test_settings_cannot_be_changed() -> None:
    settings = load_settings({})

    with pytest.raises(ValueError, match="frozen"):
        settings.batch_idle_ms = 1


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("BATCH_LEASE_MS", "500", "BATCH_LEASE_MS=500: must be 1000..600000"),
        ("BATCH_LEASE_MS", "600001", "BATCH_LEASE_MS=600001: must be 1000..600000"),
        ("BATCH_IDLE_MS", "nine", "BATCH_IDLE_MS=nine: must be 100..600000"),
        ("BATCH_MAX_MESSAGES", "0", "BATCH_MAX_MESSAGES=0: must be 1..100"),
        ("BATCH_MAX_ATTEMPTS", "51", "BATCH_MAX_ATTEMPTS=51: must be 1..50"),
        ("BATCH_SHARDS", "2.5", "BATCH_SHARDS=2.5: must be 1..1024"),
        ("FLUSH_TICK_MS", "9", "FLUSH_TICK_MS=9: must be 10..5000"),
        ("BUDGET_ACCOUNT_DAY", "0", "BUDGET_ACCOUNT_DAY=0: must be 1..1000000"),
        (
            "BUDGET_ACOUNT_DAY",
            "1",
            "BUDGET_ACOUNT_DAY: is not a setting; did you mean BUDGET_ACCOUNT_DAY?",
        ),
        ("RELEASE", "a b", "RELEASE=a b: must be 1..64 letters, digits or . _ + @ -"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL=loud: must be one of DEBUG, INFO, WARNING, ERROR"),
        ("SENTRY_DSN", "key", "SENTRY_DSN: must look like https://KEY@HOST/PROJECT"),
        (
            "PRIVACY_KEY",
            "\u043a\u043b\u044e\u0447",
            "PRIVACY_KEY: must be at most 256 printable ASCII characters",
        ),
        (
            "ENVIRONMENT",
            "prod",
            "ENVIRONMENT=prod: must be one of development, test, demo, staging, production",
        ),
        (
            "REDIS_URL",
            "http://:pass@host/0",
            "REDIS_URL=http://:***@host/0: must begin with redis://, rediss://, unix://",
        ),
        (
            "REDIS_URL",
            "redis://host/zero",
            "REDIS_URL=redis://host/zero: must end with the number of a database, such as /0",
        ),
        (
            "REDIS_URL",
            "redis://host/0?socket_timeout=90",
            "REDIS_URL=redis://host/0?***: options other than db and ssl_* are not allowed",
        ),
        (
            "REDIS_URL",
            "redis://host:port/0",
            "REDIS_URL=redis://host:port/0: must be an address such as redis://127.0.0.1:6379/0",
        ),
        (
            "REDIS_URL",
            "redis://:6379/0",
            "REDIS_URL=redis://:6379/0: must name a host, such as 127.0.0.1",
        ),
        (
            "BROKER_URL",
            "kafka://host",
            (
                "BROKER_URL=kafka://host: "
                "must begin with redis://, rediss://, unix://, amqp://, amqps://"
            ),
        ),
        (
            "BATCH_MAX_WAIT_MS",
            "8999",
            "BATCH_MAX_WAIT_MS=8999: must be at least BATCH_IDLE_MS=9000",
        ),
        (
            "BATCH_OVERDUE_MS",
            "44999",
            "BATCH_OVERDUE_MS=44999: must be at least BATCH_MAX_WAIT_MS=45000",
        ),
        (
            "BATCH_REPLY_DEADLINE_MS",
            "119999",
            "BATCH_REPLY_DEADLINE_MS=119999: must be at least BATCH_OVERDUE_MS=120000",
        ),
        (
            "BATCH_LEASE_MS",
            "600000",
            "BATCH_REPLY_DEADLINE_MS=130000: must be at least BATCH_LEASE_MS=600000",
        ),
        ("BATCH_IDEL_MS", "9", "BATCH_IDEL_MS: is not a setting; did you mean BATCH_IDLE_MS?"),
        ("BATCH_COLOUR", "red", "BATCH_COLOUR: is not a setting"),
        (
            "AI_ADMIN_REDIS_URL",
            "x",
            "AI_ADMIN_REDIS_URL: is not a setting; did you mean REDIS_URL?",
        ),
    ],
)
def test_mistake_names_setting_value_and_limit(name: str, value: str, line: str) -> None:
    around = {"BATCH_REPLY_DEADLINE_MS": "130000"} if "=130000" in line else {}

    assert mistakes(around | {name: value}) == [line]


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


def test_mistaken_setting_is_not_compared_with_others() -> None:
    """Its default would be, and the reader never wrote that."""
    assert mistakes({"BATCH_IDLE_MS": "100000", "BATCH_MAX_WAIT_MS": "soon"}) == [
        "BATCH_MAX_WAIT_MS=soon: must be 100..3600000"
    ]


@pytest.mark.parametrize(
    ("ledger", "broker"),
    [
        ("redis://127.0.0.1:6379/0", "redis://localhost"),
        ("redis://redis.internal/2", "redis://:pw@REDIS.internal:6379/2"),
        ("redis://redis.internal/?db=2", "rediss://redis.internal/2"),
        ("unix:///run/valkey.sock?db=1", "unix:///run/valkey.sock?db=1"),
    ],
)
def test_ledger_and_broker_in_one_database_is_a_mistake(ledger: str, broker: str) -> None:
    found = mistakes({"REDIS_URL": ledger, "BROKER_URL": broker})

    assert len(found) == 1
    assert "must not be the database of REDIS_URL" in found[0]


@pytest.mark.parametrize(
    ("ledger", "broker"),
    [
        ("redis://127.0.0.1/0", "redis://127.0.0.1/1"),
        ("redis://127.0.0.1/0", "redis://127.0.0.1:6380/0"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock?db=1"),
        ("redis://127.0.0.1/0", "amqp://user:pw@127.0.0.1/%2F?heartbeat=5"),
        ("rediss://r.example:6380/0?ssl_cert_reqs=required", "redis://127.0.0.1/0"),
    ],
)
def test_ledger_and_broker_apart_are_accepted(ledger: str, broker: str) -> None:
    settings = load_settings({"REDIS_URL": ledger, "BROKER_URL": broker})

    assert (settings.redis_url, settings.broker_url) == (ledger, broker)


def test_production_needs_a_privacy_key() -> None:
    assert mistakes({"ENVIRONMENT": "production"}) == [
        "PRIVACY_KEY: is missing; make one with: openssl rand -hex 32",
    ]


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


def test_production_refuses_one_secret_for_two_purposes() -> None:
    assert mistakes(PRODUCTION | {"CONSOLE_TOKEN": STRONG}) == [
        "CONSOLE_TOKEN: must not be the same as PRIVACY_KEY"
    ]


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


def test_fingerprint_is_the_same_for_the_same_settings() -> None:
    """Compared between processes, so it must not depend on one of them."""
    assert load_settings({}).fingerprint_with() == "f8c4650cfb51"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATCH_IDLE_MS", "9001"),
        ("BATCH_SHARDS", "2"),
        ("BATCH_WAKE_UP_MS", "9999"),
        ("PRIVACY_KEY", "another-key"),
        ("ENVIRONMENT", "staging"),
    ],
)
def test_fingerprint_changes_with_what_processes_must_agree_on(name: str, value: str) -> None:
    assert load_settings({name: value}).fingerprint_with() != load_settings({}).fingerprint_with()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "redis://localhost:6379/0"),
        ("RELEASE", "r2"),
        ("LOG_LEVEL", "DEBUG"),
        ("FLUSH_TICK_MS", "60"),
    ],
)
def test_fingerprint_ignores_what_may_differ(name: str, value: str) -> None:
    assert load_settings({name: value}).fingerprint_with() == load_settings({}).fingerprint_with()
