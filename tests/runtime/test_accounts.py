import re
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from batching.alerts import Alerts
from batching.errors import ConfigurationError
from batching.model import Budget, Limits
from batching.ports import Channel
from batching.store import Store
from channels import CHANNELS
from channels.provider import ChannelAccount, Outside, Provider
from channels.simulator import SIMULATOR
from llm.guard import Guarded
from runtime.accounts import (
    AccountConfig,
    AccountRegistry,
    agreed,
    load_accounts,
)
from runtime.clients import Role
from runtime.needs import variables_of
from runtime.settings import load_settings, setting_names
from runtime.sinks import addresses_of
from tests.fakes import NOON_MS, FakeChannel, FakeModel
from tests.runtime.conftest import SECRETS

ABSENT = "cannot be read (No such file or directory)"
BESIDE = "it is looked for beside the accounts file"
URL = "must look like https://HOST/PATH"
OPEN = "is refused with ENVIRONMENT=production: anybody could write to it"
WRITTEN_WRONG = "this environment variable holds a space, a line end or a non-ASCII character"
BUDGET = Budget(60, 100, 2_000, 10_000)


def load(
    path: Path, environ: dict[str, str] | None = None, **changes: object
) -> list[AccountConfig]:
    """Load the accounts of a file; ``changes`` are settings that differ from their defaults."""
    settings = load_settings({}).model_copy(update={"accounts_file": path, **changes})
    return list(load_accounts(settings, SECRETS | (environ or {})))


def mistakes(path: Path, environ: dict[str, str] | None = None, **changes: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ, **changes)
    assert caught.value.code == "accounts"
    return [line.replace(str(path), "FILE") for line in caught.value.detail.splitlines()]


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_accounts_are_read_in_the_order_of_the_file(accounts_file: Path) -> None:
    first, second, third = load(accounts_file, batch_lease_ms=11_000)

    assert [(it.account_id, it.channel) for it in (first, second, third)] == [
        ("salon-1", "whatsapp_cloud"),
        ("salon-2", "venom"),
        ("salon-3", "simulator"),
    ]
    assert first.webhook_secrets == ("value-of-app-secret", "value-of-next-app-secret")
    assert first.secrets_of("verify_token_env") == ("value-of-verify-token",)
    assert (first.entry.language, first.business[:14]) == ("en", "Open from 9:00")
    # Each account overrides what it likes.
    assert first.limits == Limits(idle_ms=4_000, lease_ms=11_000)
    assert (second.limits, second.budget) == (Limits(lease_ms=11_000), BUDGET)
    assert second.entry.ambiguous == "resend"
    assert second.webhook_secrets == ("value-of-gateway-secret",)
    assert third.webhook_secrets == third.secrets_of("") == ()


@pytest.mark.parametrize(
    ("written", "limit", "settings", "own"),
    [
        ("", "", 3, 0),
        ('on_new_message = "queue"', "supersede_max = 1", 3, 0),
        ('on_new_message = "supersede"', "", 3, 3),
        ('on_new_message = "supersede"', "", 5, 5),
        ('on_new_message = "supersede"', "supersede_max = 1", 5, 1),
    ],
)
def test_account_makes_answers_anew_only_where_it_says_so(
    accounts_file: Path, written: str, limit: str, settings: int, own: int
) -> None:
    edit(accounts_file, "timezone = ", f"{written}\ntimezone = ")
    edit(accounts_file, "[account.batch]", f"[account.batch]\n{limit}")

    first, second, _ = load(accounts_file, batch_supersede_max=settings)

    assert (first.limits.supersede_max, second.limits.supersede_max) == (own, 0)


def test_account_may_have_a_budget_of_its_own(accounts_file: Path) -> None:
    edit(
        accounts_file, "[account.batch]", "[account.budget]\nconversation_hour = 5\n[account.batch]"
    )

    own, other, _ = load(accounts_file)

    assert (own.budget, other.budget) == (replace(BUDGET, conversation_hour=5), BUDGET)


@pytest.mark.parametrize(
    ("new", "mistake"),
    [
        ('id = "Salon 1"', "FILE: account 1: id=Salon 1: must be 1..40 of a-z, 0-9 and -"),
        ('id = "canary"', "FILE: account canary: id=canary: is reserved for the canary"),
        ('id = "salon-2"', "FILE: id=salon-2: belongs to 2 accounts, must belong to one"),
        ('phone_number_id = "x"', "phone_number_id=x: must be 5..20 digits in quotes"),
        ("phone_number_id", "phone_number_id: is missing"),
        ('channel = "signal"', "channel=signal: must be one of whatsapp_cloud, venom, simulator"),
        ("channel", "channel: is missing"),
        (
            'provider = "openai"',
            "model.provider=openai: must be one of scripted, openai_compatible, anthropic",
        ),
        ("provider", "model.provider: is missing"),
        ("idle_ms = 50", "batch.idle_ms=50: must be 100..600000"),
        ("idle_ms = true", "batch.idle_ms=True: must be 100..600000"),
        ("idle_ms = 50000", "batch.max_wait_ms=45000: must be at least batch.idle_ms=50000"),
        ("idle_ms = 4000\nidel_ms = 1", "batch.idel_ms: is not known here; did you mean idle_ms?"),
        (
            "idle_ms = 4000\n[account.budget]\naccount_day = 0",
            "budget.account_day=0: must be 1..1000000",
        ),
        (
            "idle_ms = 4000\n[account.budget]\ninstallation_day = 5",
            "budget.installation_day: is not known here; did you mean conversation_day?",
        ),
        ('timezone = "Mars/X"', "timezone=Mars/X: must be a time zone such as Europe/Berlin"),
        (
            'timezone = "../../etc/passwd"',
            "timezone=../../etc/passwd: must be a time zone such as Europe/Berlin",
        ),
        ("language = 1", "language=1: must be text in quotes"),
        ('prompt_file = "no.md"', f"prompt_file=no.md: {ABSENT}; {BESIDE}"),
        (
            'ambiguous = "alert"\non_new_message = "ask"',
            "FILE: account salon-2: on_new_message=ask: must be one of queue, supersede",
        ),
        ("idle_ms = 4000\nsupersede_max = 11", "batch.supersede_max=11: must be 0..10"),
        (
            'ambiguous = "perhaps"',
            "FILE: account salon-2: ambiguous=perhaps: must be one of alert, resend",
        ),
        (
            'api_url = "http://user:pass@127.0.0.1"',
            f"FILE: account salon-2: api_url=http://***@127.0.0.1: {URL}",
        ),
        ("app_secret_env = []", "app_secret_env: must be one name, or a list of 1..2"),
    ],
)
def test_mistake_names_account_field_value_and_limit(
    accounts_file: Path, new: str, mistake: str
) -> None:
    """``new`` stands in place of the first line with its key."""
    key, given, _ = new.partition(" = ")
    (old,) = re.findall(rf"^{key} = .*$", accounts_file.read_text(), re.MULTILINE)[:1]
    edit(accounts_file, old, new if given else "")

    line = mistake if mistake.startswith("FILE") else f"FILE: account salon-1: {mistake}"
    assert mistakes(accounts_file) == [line]


def test_every_mistake_of_every_account_is_told_at_once(accounts_file: Path) -> None:
    edit(accounts_file, 'timezone = "Europe/Berlin"', 'timezone = "Nowhere"')
    edit(accounts_file, 'token_env = "GATEWAY_TOKEN"', 'token_env = "UNSET_TOKEN"')

    assert mistakes(accounts_file, environment="production") == [
        "FILE: account salon-1: timezone=Nowhere: must be a time zone such as Europe/Berlin",
        "FILE: account salon-2: token_env=UNSET_TOKEN: this environment variable is not set",
        f"FILE: account salon-3: channel=simulator: {OPEN}",
    ]


def test_missing_prompt_and_secrets_are_told_beside_the_mistakes_of_the_file(
    accounts_file: Path,
) -> None:
    edit(accounts_file, 'timezone = "Europe/Berlin"', 'timezone = "Nowhere"')
    (accounts_file.parent / "prompt.md").unlink()

    told = mistakes(accounts_file, {"SALON_TOKEN": "", "MODEL_KEY": ""})

    assert [line.removeprefix("FILE: account salon-1: ") for line in told][:4] == [
        "timezone=Nowhere: must be a time zone such as Europe/Berlin",
        f"prompt_file=prompt.md: {ABSENT}; it is looked for beside the accounts file",
        "access_token_env=SALON_TOKEN: this environment variable is not set",
        "model.api_key_env=MODEL_KEY: this environment variable is not set",
    ]


def test_unset_secrets_are_named_by_their_variables(accounts_file: Path) -> None:
    assert mistakes(accounts_file, {"MODEL_KEY": "", "GATEWAY_SECRET": "a\n"}) == [
        "FILE: account salon-1: model.api_key_env=MODEL_KEY: this environment variable is not set",
        f"FILE: account salon-2: webhook_secret_env=GATEWAY_SECRET: {WRITTEN_WRONG}",
        "FILE: account salon-2: model.api_key_env=MODEL_KEY: this environment variable is not set",
    ]


def test_secret_written_into_the_file_is_refused_and_not_repeated(accounts_file: Path) -> None:
    edit(accounts_file, 'access_token_env = "SALON_TOKEN"', 'access_token_env = "EAAGsecret/1"')
    edit(accounts_file, 'token_env = "GATEWAY_TOKEN"', 'token = "EAAGsecret/2"')

    assert mistakes(accounts_file) == [
        "FILE: account salon-1: access_token_env: must be the NAME of an environment variable",
        "FILE: account salon-2: token_env: is missing",
        "FILE: account salon-2: token: is not known here; did you mean token_env?",
    ]


def test_secrets_stay_out_of_repr(accounts_file: Path) -> None:
    shown = repr(load(accounts_file))

    assert not [value for value in SECRETS.values() if value in shown]


def test_number_of_two_accounts_is_a_mistake(accounts_file: Path) -> None:
    cloud = accounts_file.read_text().split("[[account]]")[1]
    with accounts_file.open("a") as file:
        file.write("[[account]]" + cloud.replace("salon-1", "salon-4"))

    assert mistakes(accounts_file) == [
        "FILE: phone_number_id=100000000000001: belongs to 2 accounts, must belong to one"
    ]


COUNT = "FILE: must hold 1..1000 tables [[account]]; copy accounts.example.toml to begin"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", COUNT),
        ("[account]\nid = 1", COUNT),
        ("account = 1\nsecret-value\n", "FILE: is not TOML (at line 2, column 13)"),
        ("account = 1\n[account", "FILE: is not TOML (at its end, line 2)"),
        ("id = 1\n\nid = 2\n", "FILE: is not TOML (at line 3, column 7)"),
        ("[[account]]\nid = '\udcff'\n", "FILE: is not UTF-8 (at line 2)"),
        ("[[accounts]]", "FILE: accounts: is not known here"),
        ("account = [3]", "FILE: account 1: must be a table"),
        ("#" * 1_000_001, "FILE: must be at most 1000000 bytes"),
        (None, f"ACCOUNTS_FILE=FILE: {ABSENT}; copy accounts.example.toml to begin"),
    ],
    ids=[
        *("empty", "one table", "not TOML", "cut short", "twice", "not UTF-8", "other name"),
        *("no table", "too large", "no file"),
    ],
)
def test_file_of_another_form_is_refused_in_plain_words(
    tmp_path: Path, text: str | None, line: str
) -> None:
    path = tmp_path / "accounts.toml"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))

    assert mistakes(path) == [line]


@pytest.mark.parametrize("size", [0, 64_001])
def test_prompt_has_a_length(accounts_file: Path, size: int) -> None:
    (accounts_file.parent / "prompt.md").write_text("x" * size)

    assert mistakes(accounts_file)[0] == (
        "FILE: account salon-1: prompt_file=prompt.md: "
        f"has {size} bytes: must be 1..64000, and not blank"
    )


def test_account_is_found_by_its_id_and_built_once_when_asked_for(accounts_file: Path) -> None:
    """The web never answers anybody: it must not open what only a worker needs."""
    built: list[str] = []

    def record(account: ChannelAccount, _: Outside) -> Channel:
        built.append(account.account_id)
        return FakeChannel()

    registry = AccountRegistry(
        load(accounts_file),
        CHANNELS | {"simulator": replace(SIMULATOR, build=record)},
        Store(redis.Redis(), privacy_key="k"),
        limits=Limits(idle_ms=1),
    )

    assert [config.account_id for config in registry] == ["salon-1", "salon-2", "salon-3"]
    assert (registry.config("salon-4"), registry.get("salon-4")) == (None, None)
    assert registry.limits_of("salon-1") == Limits(idle_ms=4_000)
    assert registry.limits_of("salon-4") == Limits(idle_ms=1)
    assert built == []
    assert registry.get("salon-3") is registry.get("salon-3")
    assert built == ["salon-3"]


def test_person_is_alerted_of_withheld_contacts_once_an_hour(
    accounts_file: Path, store: Store
) -> None:
    registry = AccountRegistry(load(accounts_file), CHANNELS, store, limits=Limits())
    account = registry.get("salon-1")
    assert account is not None
    assert isinstance(account.model, Guarded)
    account.model.model = FakeModel("Call +1 202 555 0100", "See evil.ru")

    answers = [account.model.answer((), "Hi", now_ms=NOON_MS).text for _ in range(2)]

    assert answers == ["Call […]", "See […]"]
    assert [(it.kind, it.account_id, it.detail) for it in Alerts(store).take(10)] == [
        ("redacted", "salon-1", "1 number")
    ]


def test_answer_does_not_wait_for_the_alert(accounts_file: Path) -> None:
    away = Store(redis.Redis(port=1), privacy_key="k")
    account = AccountRegistry(load(accounts_file), CHANNELS, away, limits=Limits()).get("salon-1")
    assert account is not None
    assert isinstance(account.model, Guarded)
    account.model.model = FakeModel("See evil.ru")

    assert account.model.answer((), "Hi", now_ms=NOON_MS).text == "See […]"


@pytest.mark.parametrize("provider", CHANNELS.values(), ids=CHANNELS)
def test_every_secret_of_a_provider_is_for_webhooks_or_for_answers(provider: Provider) -> None:
    """What the provider declares decides it; a field that proves nothing is for those who send."""
    fields = {name for name in provider.config.model_fields if name.endswith("_env")}
    challenge = {provider.challenge.secrets_field} if provider.challenge else set()

    assert provider.proof_fields == {provider.secrets_field, *challenge} - {""}
    assert provider.proof_fields <= fields


def test_variables_of_a_role_are_its_settings_and_what_the_accounts_name_for_it(
    accounts_file: Path,
) -> None:
    configs = load(accounts_file)
    roles: list[Role] = ["web", "worker", "scheduler", "manage"]
    web, worker, scheduler, manage = (variables_of(role, configs) for role in roles)

    assert scheduler - web == {"NOTIFY_URLS", "EVENTS_URL", "EVENTS_SECRET"}
    assert web - scheduler == {
        *("SALON_APP_SECRET", "SALON_NEXT_APP_SECRET", "SALON_VERIFY_TOKEN", "GATEWAY_SECRET"),
        "CONSOLE_TOKEN",
    }
    assert worker - scheduler == {"SALON_TOKEN", "GATEWAY_TOKEN", "MODEL_KEY"}
    assert scheduler == set(setting_names()) - {"CONSOLE_TOKEN"}
    assert manage == web | worker | scheduler


def test_addresses_of_an_account_are_the_schedulers_alone_and_tell_of_it_alone(
    accounts_file: Path,
) -> None:
    named = '["PHONE", "MAIL"]'
    edit(accounts_file, 'id = "salon-1"', f'id = "salon-1"\nnotify_urls_env = {named}')
    phone, mail = "ntfy://127.0.0.1/topic", "mailto://127.0.0.1?from=a@example.com&to=b@example.com"
    environ = {"PHONE": phone, "MAIL": mail, "NOTIFY_URLS": "json://127.0.0.1/all"}
    configs = load(accounts_file, environ)

    found = addresses_of(load_settings(environ), configs)

    assert [(it.name, it.account_id) for it in found] == [
        ("NOTIFY_URLS 1 (json)", ""),
        ("account salon-1: notify_urls_env 1 (ntfy)", "salon-1"),
        ("account salon-1: notify_urls_env 2 (mailto)", "salon-1"),
    ]
    roles: list[Role] = ["web", "worker", "scheduler"]
    assert ["PHONE" in variables_of(role, configs) for role in roles] == [False, False, True]
    assert mistakes(accounts_file, {"MAIL": mail})[0].endswith(
        "notify_urls_env=PHONE: this environment variable is not set"
    )


def test_what_is_agreed_on_is_file_and_prompt_and_not_secrets(
    accounts_file: Path,
) -> None:
    """Not every role has them all: the fleet compares them apart."""
    first = str(agreed(load(accounts_file)))
    assert str(agreed(load(accounts_file, {"SALON_TOKEN": "another"}))) == first

    changed = {first}
    (accounts_file.parent / "prompt.md").write_text("Closed on Mondays.\n")
    changed.add(str(agreed(load(accounts_file))))
    changed.add(str(agreed(load(edit(accounts_file, "idle_ms = 4000", "idle_ms = 4001")))))

    assert len(changed) == 3


# Further models, and a last word.

FALLBACK = """
[[account.model.fallback]]
provider = "anthropic"
model = "invented-2"
api_key_env = "SPARE_KEY"
"""
SPARE = {"SPARE_KEY": "value-of-spare-key"}


def test_account_may_have_fallbacks_and_an_apology(accounts_file: Path) -> None:
    edit(accounts_file, "[account.batch]", f"{FALLBACK}{FALLBACK}\n[account.batch]")
    edit(accounts_file, 'timezone = "', 'apology = "We will write to you."\ntimezone = "')

    first, *others = load(accounts_file, SPARE)

    assert [path for path, _ in first.models] == ["model.", *["model.fallback."] * 2]
    assert [table.model for table in first.fallbacks] == ["invented-2"] * 2
    assert first.secrets["SPARE_KEY"] == "value-of-spare-key"
    assert first.entry.apology == "We will write to you."
    assert [(it.fallbacks, it.entry.apology) for it in others] == [((), "")] * 2


@pytest.mark.parametrize(
    ("written", "mistake"),
    [
        (FALLBACK * 3, "model.fallback: must be at most 2 tables"),
        ('fallback = "none"\n', "model.fallback: must be at most 2 tables"),
        ("fallback = [3]\n", "model.fallback: must be a table"),
        (FALLBACK.replace("anthropic", "none"), "model.fallback.provider=none: must be one of"),
        (FALLBACK.replace("model =", "models ="), "model.fallback.models: is not known here"),
    ],
)
def test_mistake_in_a_fallback_is_named(accounts_file: Path, written: str, mistake: str) -> None:
    edit(accounts_file, "[account.batch]", f"{written}\n[account.batch]")

    told = mistakes(accounts_file, SPARE)

    assert any(f"account salon-1: {mistake}" in line for line in told), told


def test_key_of_a_fallback_that_is_not_set_is_a_mistake(accounts_file: Path) -> None:
    edit(accounts_file, "[account.batch]", f"{FALLBACK}\n[account.batch]")

    (told,) = mistakes(accounts_file)

    assert "model.fallback.api_key_env=SPARE_KEY: this environment variable is not set" in told


def test_processes_with_another_fallback_or_apology_disagree(accounts_file: Path) -> None:
    found = [str(agreed(load(accounts_file)))]
    edit(accounts_file, 'timezone = "', 'apology = "We will write to you."\ntimezone = "')
    found.append(str(agreed(load(accounts_file))))
    edit(accounts_file, "[account.batch]", f"{FALLBACK}\n[account.batch]")
    configs = load(accounts_file, SPARE)
    found.append(str(agreed(configs)))

    assert len(set(found)) == 3
    roles: list[Role] = ["web", "worker", "scheduler"]
    assert [it for it in roles if "SPARE_KEY" in variables_of(it, configs)] == ["worker"]
