from dataclasses import replace
from pathlib import Path

import pytest

from batching.errors import ConfigurationError
from batching.model import Budget, Limits
from batching.ports import Account
from runtime.accounts import AccountBook, AccountConfig, Surroundings, agreement, load_accounts
from tests.fakes import FakeChannel, FakeModel
from tests.runtime.conftest import SECRETS

BUDGET = Budget(conversation_hour=60, account_day=2_000, installation_day=10_000)


def load(
    path: Path, *, environ: dict[str, str] | None = None, production: bool = False
) -> tuple[AccountConfig, ...]:
    around = Surroundings(
        SECRETS if environ is None else environ, Limits(), BUDGET, production=production
    )
    return load_accounts(path, around)


def mistakes(
    path: Path, *, environ: dict[str, str] | None = None, production: bool = False
) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ=environ, production=production)
    assert caught.value.code == "accounts"
    return [line.replace(str(path), "FILE") for line in caught.value.detail.splitlines()]


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def build(config: AccountConfig) -> Account:
    return Account(config.account_id, config.limits, FakeChannel(), FakeModel())


def test_accounts_are_read_in_the_order_of_the_file(accounts_file: Path) -> None:
    first, second, third = load(accounts_file)

    assert (first.account_id, first.channel, first.language) == ("salon-1", "whatsapp_cloud", "en")
    assert first.secrets == ("value-of-app-secret", "value-of-next-app-secret")
    assert first.secrets_of("verify_token_env") == ("value-of-verify-token",)
    assert first.limits == Limits(idle_ms=4_000)
    assert first.business.startswith("Open from 9:00")
    assert (second.account_id, second.channel) == ("salon-2", "venom")
    assert second.secrets == ("value-of-gateway-secret",)
    assert second.entry.ambiguous == "resend"
    assert second.limits == Limits()
    assert (third.account_id, third.channel, third.secrets) == ("salon-3", "simulator", ())


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            'id = "salon-1"',
            'id = "Salon 1"',
            "FILE: account 1: id=Salon 1: must be 1..40 of a-z, 0-9 and -",
        ),
        (
            'phone_number_id = "100000000000001"',
            'phone_number_id = "x"',
            "FILE: account salon-1: phone_number_id=x: must be 5..20 digits in quotes",
        ),
        (
            'phone_number_id = "100000000000001"',
            "",
            "FILE: account salon-1: phone_number_id: is missing",
        ),
        (
            'channel = "whatsapp_cloud"',
            'channel = "whatsapp"',
            (
                "FILE: account salon-1: channel=whatsapp: "
                "must be one of whatsapp_cloud, venom, simulator"
            ),
        ),
        (
            'provider = "openai_compatible"',
            'provider = "openai"',
            (
                "FILE: account salon-1: model.provider=openai: "
                "must be one of scripted, openai_compatible, anthropic"
            ),
        ),
        (
            'provider = "openai_compatible"',
            "",
            "FILE: account salon-1: model.provider: is missing",
        ),
        (
            "idle_ms = 4000",
            "idle_ms = 50",
            "FILE: account salon-1: batch.idle_ms=50: must be 100..600000",
        ),
        (
            "idle_ms = 4000",
            "max_messages = true",
            "FILE: account salon-1: batch.max_messages=True: must be 1..100",
        ),
        (
            "idle_ms = 4000",
            "idle_ms = 50000",
            "FILE: account salon-1: batch.max_wait_ms=45000: must be at least batch.idle_ms=50000",
        ),
        (
            "idle_ms = 4000",
            "idel_ms = 4000",
            "FILE: account salon-1: batch.idel_ms: is not known here; did you mean idle_ms?",
        ),
        (
            'timezone = "Europe/Berlin"',
            'timezone = "Europe/Paradise"',
            (
                "FILE: account salon-1: timezone=Europe/Paradise: "
                "must be a time zone such as Europe/Berlin"
            ),
        ),
        (
            'timezone = "Europe/Berlin"',
            'timezone = "../../etc/passwd"',
            (
                "FILE: account salon-1: timezone=../../etc/passwd: "
                "must be a time zone such as Europe/Berlin"
            ),
        ),
        (
            'language = "en"',
            "language = 1",
            "FILE: account salon-1: language=1: must be text in quotes",
        ),
        (
            'prompt_file = "prompt.md"',
            'prompt_file = "nowhere.md"',
            (
                "FILE: account salon-1: prompt_file=nowhere.md: cannot be read "
                "(No such file or directory); it is looked for beside the accounts file"
            ),
        ),
        (
            'ambiguous = "resend"',
            'ambiguous = "perhaps"',
            "FILE: account salon-2: ambiguous=perhaps: must be one of alert, resend",
        ),
        (
            'api_url = "http://127.0.0.1:9/"',
            'api_url = "http://user:pass@127.0.0.1"',
            (
                "FILE: account salon-2: api_url=http://user:***@127.0.0.1: "
                "must look like https://HOST/PATH"
            ),
        ),
        (
            'id = "salon-2"',
            'id = "salon-1"',
            "FILE: id=salon-1: belongs to 2 accounts, must belong to one",
        ),
        (
            'app_secret_env = ["SALON_APP_SECRET", "SALON_NEXT_APP_SECRET"]',
            "app_secret_env = []",
            "FILE: account salon-1: app_secret_env: must be one name, or a list of 1..2",
        ),
    ],
)
def test_mistake_names_account_field_value_and_limit(
    accounts_file: Path, old: str, new: str, line: str
) -> None:
    assert mistakes(edit(accounts_file, old, new)) == [line]


def test_every_mistake_of_every_account_is_told_at_once(accounts_file: Path) -> None:
    edit(accounts_file, 'timezone = "Europe/Berlin"', 'timezone = "Nowhere"')
    edit(accounts_file, 'token_env = "GATEWAY_TOKEN"', 'token_env = "UNSET_TOKEN"')

    assert mistakes(accounts_file, production=True) == [
        "FILE: account salon-1: timezone=Nowhere: must be a time zone such as Europe/Berlin",
        "FILE: account salon-2: token_env=UNSET_TOKEN: this environment variable is not set",
        (
            "FILE: account salon-3: channel=simulator: "
            "is refused with ENVIRONMENT=production: anybody could write to it"
        ),
    ]


def test_unset_secrets_are_named_by_their_variables(accounts_file: Path) -> None:
    assert mistakes(
        accounts_file, environ={**SECRETS, "MODEL_KEY": "", "GATEWAY_SECRET": "a\n"}
    ) == [
        "FILE: account salon-1: model.api_key_env=MODEL_KEY: this environment variable is not set",
        "FILE: account salon-2: model.api_key_env=MODEL_KEY: this environment variable is not set",
        (
            "FILE: account salon-2: webhook_secret_env=GATEWAY_SECRET: "
            "this environment variable holds a space, a line end or a non-ASCII character"
        ),
    ]


def test_secret_written_into_the_file_is_refused_and_not_repeated(accounts_file: Path) -> None:
    edit(accounts_file, 'access_token_env = "SALON_TOKEN"', 'access_token_env = "EAAGsecret/1"')
    edit(accounts_file, 'token_env = "GATEWAY_TOKEN"', 'token = "EAAGsecret/2"')

    found = mistakes(accounts_file)

    assert found == [
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


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "FILE: must hold 1..1000 tables [[account]]; copy accounts.example.toml to begin"),
        ("[account]\nid = 1", ("FILE: must hold 1..1000 tables [[account]]; "
         "copy accounts.example.toml to begin")),
        ("account = 1\nsecret-value\n", "FILE: is not TOML (at line 2, column 13)"),
        ("[[accounts]]", "FILE: accounts: is not known here"),
        ("account = [3]", "FILE: account 1: must be a table"),
    ],
)  # fmt: skip
def test_file_of_another_form_is_refused_in_plain_words(
    tmp_path: Path, text: str, line: str
) -> None:
    path = tmp_path / "accounts.toml"
    path.write_text(text)

    assert mistakes(path) == [line]


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "accounts.toml") == [
        (
            "ACCOUNTS_FILE=FILE: cannot be read (No such file or directory); "
            "copy accounts.example.toml to begin"
        )
    ]


@pytest.mark.parametrize("size", [0, 64_001])
def test_prompt_has_a_length(accounts_file: Path, size: int) -> None:
    (accounts_file.parent / "prompt.md").write_text("x" * size)

    assert mistakes(accounts_file)[0] == (
        "FILE: account salon-1: prompt_file=prompt.md: "
        f"has {size} bytes: must be 1..64000, and not blank"
    )


def test_book_finds_accounts_by_id(accounts_file: Path) -> None:
    book = AccountBook(load(accounts_file), limits=Limits(idle_ms=1), build=build)

    assert [config.account_id for config in book] == ["salon-1", "salon-2", "salon-3"]
    assert book.config("salon-4") is None
    assert book.get("salon-4") is None
    assert book.limits_of("salon-1") == Limits(idle_ms=4_000)
    assert book.limits_of("salon-4") == Limits(idle_ms=1)


def test_account_is_built_once_and_only_when_asked_for(accounts_file: Path) -> None:
    """The web never answers anybody: it must not open what only a worker needs."""
    built: list[str] = []

    def record(config: AccountConfig) -> Account:
        built.append(config.account_id)
        return build(config)

    book = AccountBook(load(accounts_file), limits=Limits(), build=record)
    assert built == []

    assert book.get("salon-2") is book.get("salon-2")
    assert built == ["salon-2"]


def test_agreement_changes_with_file_prompt_and_secrets(accounts_file: Path) -> None:
    def agreed(environ: dict[str, str]) -> str:
        return agreement(load(accounts_file, environ=environ))

    first = agreed(SECRETS)
    assert agreed(SECRETS) == first
    changed = {first, agreed(SECRETS | {"SALON_TOKEN": "another"})}
    (accounts_file.parent / "prompt.md").write_text("Closed on Mondays.\n")
    changed.add(agreed(SECRETS))
    edit(accounts_file, "idle_ms = 4000", "idle_ms = 4001")
    changed.add(agreed(SECRETS))

    assert len(changed) == 4


def test_override_changes_one_limit_of_one_account(accounts_file: Path) -> None:
    base = replace(Limits(), lease_ms=11_000)
    around = Surroundings(SECRETS, base, BUDGET, production=False)

    first, second, _ = load_accounts(accounts_file, around)

    assert first.limits == replace(base, idle_ms=4_000)
    assert second.limits == base


def test_account_may_have_a_budget_of_its_own(accounts_file: Path) -> None:
    edit(
        accounts_file, "[account.batch]", "[account.budget]\nconversation_hour = 5\n[account.batch]"
    )

    own, other, _ = load(accounts_file)

    assert own.budget == Budget(conversation_hour=5, account_day=2_000, installation_day=10_000)
    assert other.budget == BUDGET


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("account_day = 0", "budget.account_day=0: must be 1..1000000"),
        ("installation_day = 5", "budget.installation_day: is not known here"),
    ],
)
def test_budget_out_of_bounds_or_not_an_accounts_is_a_mistake(
    accounts_file: Path, written: str, line: str
) -> None:
    edit(accounts_file, "[account.batch]", f"[account.budget]\n{written}\n[account.batch]")

    (mistake,) = mistakes(accounts_file)

    assert mistake.startswith(f"FILE: account salon-1: {line}")
