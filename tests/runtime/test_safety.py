"""What production refuses, each with the line that allows it; and what it must not refuse."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from batching.errors import ConfigurationError
from config.secrecy import secret_problem
from laboratory.inventory import write_accounts
from laboratory.places import DSN, OUTSIDE_URL
from runtime.accounts import load_accounts, load_exceptions
from runtime.build import build
from runtime.safety import unsafe
from runtime.settings import load_settings
from tests.cli.conftest import ROOT, TIMEOUT_S
from tests.stack.accounts import SECRETS as LABORATORY_SECRETS
from tests.valkey_server import ValkeyServer

#: Invented, in the forms in which such secrets come.
HEX = "7d793037a0760186574b0282f2f435e7"
SECRETS = {
    "PRIVACY_KEY": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "SALON_TOKEN": "EAAGm0PX4ZCpsBAKr1Q9hT2nLwJ8uVd6yFs3eXk5ZBcOaMiHgRb7",
    "SALON_APP_SECRET": HEX,
    "SALON_NEXT_APP_SECRET": HEX[::-1],
    "SALON_VERIFY_TOKEN": "blue-heron-4471-quay",
    # Of WPPConnect: a digest of bcrypt, which holds what placeholders hold.
    "GATEWAY_TOKEN": "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
    "GATEWAY_SECRET": "Zq3vT8nB1xR6kW0jL5pD9sF2hG7mC4aE",
    "MODEL_KEY": "sk-proj-testAb3xY9kQ2mZ7rT1vN5wL8pJ4sD6fG0hCyEuIoKdemo",
}


@dataclass
class Installation:
    """One in production; ``edit`` and ``environ`` change it."""

    directory: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def accounts(self) -> Path:
        return self.directory / "accounts.toml"

    def edit(self, old: str, new: str) -> None:
        text = self.accounts.read_text()
        assert old in text
        self.accounts.write_text(text.replace(old, new))

    def allow(self, line: str) -> None:
        self.accounts.write_text(f"{line}\n{self.accounts.read_text()}")

    def refusals(self) -> list[str]:
        environ = SECRETS | {"ENVIRONMENT": "production"} | self.environ
        settings = load_settings(environ | {"ACCOUNTS_FILE": str(self.accounts)})
        return [str(it) for it in unsafe(settings, load_accounts(settings, environ))]


@pytest.fixture
def installed(accounts_file: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.chdir(accounts_file.parent)
    # Without the simulator, which production refuses for a reason of its own.
    accounts_file.write_text(accounts_file.read_text().split('[[account]]\nid = "salon-3"')[0])
    for path in (accounts_file, accounts_file.parent / "prompt.md"):
        path.chmod(0o640)
    return Installation(accounts_file.parent)


def test_careful_installation_is_refused_nothing(installed: Installation) -> None:
    installed.environ = {
        "REDIS_URL": "rediss://app:kJ8sd72hFqLw01xP@ledger.internal:6379/0?ssl_ca_certs=/ca.pem",
        "BROKER_URL": "amqps://app:kJ8sd72hFqLw01xP@broker.internal/app?ssl_options="
        "%7B%27ca_certs%27%3A+%27%2Fca.pem%27%7D",
        "SENTRY_DSN": "https://key@sentry.example/1",
        "CANARY_URL": "https://hooks.example",
    }

    assert installed.refusals() == []


CLEAR = "sends secrets or customers' words in clear text"
NOWHERE = "is a link-local or metadata address"
UNVERIFIED = "takes any server's certificate"


@pytest.mark.parametrize(
    ("name", "url", "safe"),
    [
        ("REDIS_URL", "redis://app:kJ8sd72hFqLw01xP@10.0.0.7:6379/0", "rediss://"),
        ("BROKER_URL", "redis://app:kJ8sd72hFqLw01xP@10.0.0.7:6380/0", "rediss://"),
        ("BROKER_URL", "amqp://app:kJ8sd72hFqLw01xP@10.0.0.7/app", "amqps://"),
    ],
)
def test_server_elsewhere_is_reached_by_tls_or_by_a_line_that_owns_up(
    installed: Installation, name: str, url: str, safe: str
) -> None:
    """Customers' words cross that line, and the password of the whole ledger."""
    installed.environ = {name: url}

    refused = installed.refusals()
    installed.allow('allow_http_hosts = ["10.0.0.7"]')

    assert len(refused) == 1
    assert refused[0].startswith(f"{name}=")
    assert f"{CLEAR}: use {safe}" in refused[0]
    assert "kJ8sd72hFqLw01xP" not in refused[0]
    assert installed.refusals() == []


@pytest.mark.parametrize(
    ("url", "problem", "exception", "host"),
    [
        ("http://gateway.internal:21465", CLEAR, "allow_http_hosts", "gateway.internal"),
        ("http://10.0.0.7/v1", CLEAR, "allow_http_hosts", "10.0.0.7"),
        ("http://localhost.example", CLEAR, "allow_http_hosts", "localhost.example"),
        ("https://169.254.169.254/v24.0", NOWHERE, "allow_link_local_hosts", "169.254.169.254"),
        ("https://2852039166/", NOWHERE, "allow_link_local_hosts", "2852039166"),
        (
            *("https://[::ffff:169.254.169.254]/", NOWHERE),
            *("allow_link_local_hosts", "::ffff:169.254.169.254"),
        ),
        (
            *("https://Metadata.Google.Internal./", NOWHERE),
            *("allow_link_local_hosts", "metadata.google.internal"),
        ),
    ],
)
@pytest.mark.parametrize("place", ["cloud", "gateway", "model", "CANARY_URL", "SENTRY_DSN"])
def test_address_is_refused_wherever_it_stands_and_allowed_by_its_host(
    installed: Installation, place: str, url: str, problem: str, exception: str, host: str
) -> None:
    if place == "cloud":
        installed.edit('verify_token_env = "', f'api_url = "{url}"\nverify_token_env = "')
    elif place == "gateway":
        installed.edit("http://127.0.0.1:9/", url)
    elif place == "model":
        installed.edit('provider = "anthropic"', f'provider = "anthropic"\nbase_url = "{url}"')
    else:
        scheme, rest = url.split("://")
        dsn = f"{scheme}://key@{rest.partition('/')[0]}/1"
        installed.environ = {place: dsn if place == "SENTRY_DSN" else url}

    (refused,) = installed.refusals()
    installed.allow(f'{exception} = ["{host}"]')

    assert problem in refused
    assert refused.endswith(f'allow it at the top of the accounts file: {exception} = ["{host}"]')
    assert installed.refusals() == []


@pytest.mark.parametrize(
    ("name", "scheme", "option"),
    [
        ("REDIS_URL", "rediss", "ssl_cert_reqs=none"),
        ("REDIS_URL", "rediss", "ssl_cert_reqs=optional"),
        ("REDIS_URL", "rediss", "ssl_ca_certs=/ca.pem&ssl_check_hostname=0"),
        ("BROKER_URL", "rediss", "ssl_cert_reqs=none"),
        ("BROKER_URL", "rediss", "ssl_check_hostname=No"),
        ("BROKER_URL", "amqps", "ssl_options=%7B%27protocol%27%3A2%7D"),
    ],
)
def test_server_whose_certificate_is_not_checked_is_refused(
    installed: Installation, name: str, scheme: str, option: str
) -> None:
    installed.environ = {name: f"{scheme}://u:kJ8sd72hFqLw01xP@r.internal/0?{option}"}

    (refused,) = installed.refusals()
    installed.allow('allow_unverified_hosts = ["r.internal"]')

    assert UNVERIFIED in refused
    assert f"by its option {option.rsplit('&', maxsplit=1)[-1].partition('=')[0]}: " in refused
    assert "kJ8sd72hFqLw01xP" not in refused
    assert installed.refusals() == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SALON_APP_SECRET", "x"),
        ("SALON_NEXT_APP_SECRET", HEX[:31]),
        ("SALON_APP_SECRET", "change-me-change-me-change-me-1234"),
        ("SALON_APP_SECRET", "0123456789abcdef0123456789abcdef"),
        ("GATEWAY_SECRET", "1"),
        ("GATEWAY_SECRET", "k7Qz" * 8),
        ("GATEWAY_SECRET", "abcdefghijklmnopqrstuvwxyz012345"),
        ("SALON_VERIFY_TOKEN", "v"),
        ("SALON_VERIFY_TOKEN", "my-verify-token-example"),
        ("SALON_TOKEN", "x"),
        ("SALON_TOKEN", "your-access-token-here"),
        ("MODEL_KEY", "sk-replace-me-with-your-own-key"),
    ],
)
def test_secret_that_can_be_guessed_is_refused_and_not_shown(
    installed: Installation, variable: str, value: str
) -> None:
    installed.environ = {variable: value}

    refused = installed.refusals()
    installed.allow(f'allow_weak_secrets = ["{variable}"]')

    assert refused
    assert all(f"_env={variable}: " in line for line in refused)
    assert not [line for line in refused if len(value) > 1 and value in line]
    assert all(f'allow_weak_secrets = ["{variable}"]' in line for line in refused)
    assert installed.refusals() == []


@pytest.mark.parametrize("name", ["REDIS_URL", "BROKER_URL"])
@pytest.mark.parametrize("login", ["", ":short@", "default:change-me-please-now@", "user@"])
def test_server_elsewhere_without_a_real_password_is_refused(
    installed: Installation, name: str, login: str
) -> None:
    installed.environ = {name: f"rediss://{login}r.internal/0"}

    (refused,) = installed.refusals()
    installed.allow(f'allow_weak_secrets = ["{name}"]')

    assert refused.startswith(f"{name}=rediss://")
    assert "r.internal/0: the server's password " in refused
    assert "change-me-please-now" not in refused
    assert installed.refusals() == []


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1/5", "redis://localhost/5", "unix:///run/v.sock?db=5"]
)
def test_server_beside_us_may_go_without_a_password(installed: Installation, url: str) -> None:
    installed.environ = {"REDIS_URL": url}

    assert installed.refusals() == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SALON_VERIFY_TOKEN", "SALON_APP_SECRET"),
        ("SALON_VERIFY_TOKEN", "GATEWAY_SECRET"),
        ("PRIVACY_KEY", "GATEWAY_SECRET"),
        ("CONSOLE_TOKEN", "SALON_TOKEN"),
        ("PRIVACY_KEY", "SALON_APP_SECRET"),
    ],
)
def test_secret_that_is_shown_or_kept_for_good_opens_nothing_else(
    installed: Installation, one: str, other: str
) -> None:
    """A verify token stands in addresses, and so in logs; PRIVACY_KEY cannot be changed."""
    installed.environ = dict.fromkeys((one, other), "c0a7" + SECRETS["PRIVACY_KEY"])

    refused = installed.refusals()

    assert [line for line in refused if f"{one}: must not be the same as {other}; " in line]


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o642, 0o641])
@pytest.mark.parametrize("name", [".env", "accounts.toml"])
def test_file_that_every_user_may_open_is_refused(
    installed: Installation, name: str, mode: int
) -> None:
    path = installed.directory / name
    path.touch()
    path.chmod(mode)

    (refused,) = installed.refusals()
    installed.allow(f'allow_open_files = ["{name}"]')

    assert f"is open to every user of this machine (mode {mode:04o}): chmod o= " in refused
    assert installed.refusals() == []


def test_prompt_that_every_user_may_write_is_refused(installed: Installation) -> None:
    prompt = installed.directory / "prompt.md"
    prompt.chmod(0o644)
    readable = installed.refusals()
    prompt.chmod(0o646)
    (refused,) = installed.refusals()

    assert readable == []
    assert refused.startswith(f"{prompt}: is open to every user")


def test_directory_in_which_every_user_may_replace_a_file_is_refused(
    installed: Installation,
) -> None:
    installed.directory.chmod(0o1777)
    sticky = installed.refusals()
    installed.directory.chmod(0o777)
    (refused,) = installed.refusals()
    installed.allow(f'allow_open_files = ["{installed.directory.name}"]')

    assert sticky == []
    assert f"(mode 0777): chmod o-w {installed.directory}; or allow" in refused
    assert installed.refusals() == []


def test_every_refusal_is_told_at_once(installed: Installation) -> None:
    installed.environ = {"GATEWAY_SECRET": "1", "SALON_VERIFY_TOKEN": "v"}
    installed.edit("http://127.0.0.1:9/", "http://gateway.internal")
    installed.accounts.chmod(0o644)

    exceptions = [re.findall(r"(allow_\w+) =", line)[0] for line in installed.refusals()]

    assert exceptions == [
        "allow_http_hosts",
        "allow_weak_secrets",
        "allow_weak_secrets",
        "allow_open_files",
    ]


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("allow_http = []", "allow_http: is not known here; did you mean allow_http_hosts?"),
        ('allow_http_hosts = "gw"', "allow_http_hosts=gw: must be a list"),
        (
            'allow_http_hosts = ["http://gw"]',
            "allow_http_hosts=http://gw: must be a host, such as gateway.internal",
        ),
        (
            'allow_http_hosts = ["*"]',
            "allow_http_hosts=*: must be a host, such as gateway.internal",
        ),
        (
            'allow_weak_secrets = ["x"]',
            "allow_weak_secrets=x: must be the NAME of an environment variable",
        ),
    ],
)  # fmt: skip
def test_exception_written_wrong_is_a_mistake(
    installed: Installation, line: str, mistake: str
) -> None:
    installed.allow(line)

    with pytest.raises(ConfigurationError) as caught:
        load_exceptions(load_settings({"ACCOUNTS_FILE": str(installed.accounts)}))

    assert caught.value.detail == f"{installed.accounts}: {mistake}"


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("role", "theirs"),
    [("web", "webhook_secret_env"), ("worker", "access_token_env"), ("scheduler", "")],
)
def test_process_that_starts_in_production_with_what_is_refused_says_so(
    installed: Installation, role: str, theirs: str, valkey: ValkeyServer
) -> None:
    """Of secrets those of its role; ``check`` knows them all."""
    weak = {"GATEWAY_SECRET": "1", "SALON_TOKEN": "1"}
    installed.accounts.chmod(0o644)
    environ = SECRETS | {"ENVIRONMENT": "production"} | weak
    environ |= {"REDIS_URL": valkey.url(0), "BROKER_URL": valkey.url(1)}
    command = f"from runtime.build import build_or_exit; build_or_exit({role!r})"

    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=installed.directory,
        env=environ | {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    told = [line for line in lines if line["event"] == "settings.unsafe"]
    assert {line["level"] for line in told} == {"ERROR"}
    assert {line["setting"].rpartition(" ")[2] for line in told} == (
        {theirs, str(installed.accounts)} - {""}
    )
    assert '"1"' not in done.stdout


@pytest.mark.usefixtures("client")
def test_outside_production_the_same_installation_starts(
    installed: Installation, valkey: ValkeyServer
) -> None:
    environ = SECRETS | {"ENVIRONMENT": "staging", "GATEWAY_SECRET": "1"}
    environ |= {"REDIS_URL": valkey.url(0), "BROKER_URL": valkey.url(1)}

    runtime = build("manage", environ | {"ACCOUNTS_FILE": str(installed.accounts)})

    assert not runtime.settings.is_production
    runtime.store.client.connection_pool.disconnect()


def test_simulated_number_beside_a_real_one_is_told_in_staging(accounts_file: Path) -> None:
    """Production refuses the simulator by itself; in staging its page is open."""
    environ = SECRETS | {"ENVIRONMENT": "staging", "ACCOUNTS_FILE": str(accounts_file)}
    settings = load_settings(environ)

    told = map(str, unsafe(settings, load_accounts(settings, environ)))

    says = "anybody can write to it, beside a real number: remove the account"
    assert [line for line in told if "channel" in line] == [
        f"account salon-3: channel=simulator: {says}"
    ]


@pytest.mark.parametrize("value", [HEX, SECRETS["GATEWAY_TOKEN"], SECRETS["MODEL_KEY"]])
def test_random_secret_may_spell_a_word(value: str) -> None:
    assert secret_problem(value, 16) is None


def test_laboratory_of_the_playbooks_is_refused_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hosts run in production: what it plays must get past ``check``."""
    monkeypatch.chdir(tmp_path)
    accounts, _ = write_accounts(tmp_path / "laboratory", OUTSIDE_URL)
    accounts.chmod(0o640)  # As the playbooks install it.
    password = SECRETS["PRIVACY_KEY"]
    environ = {
        **LABORATORY_SECRETS,
        "ENVIRONMENT": "production",
        "ACCOUNTS_FILE": str(accounts),
        "PRIVACY_KEY": password,
        "SENTRY_DSN": DSN,
        "REDIS_URL": f"rediss://app:{password}@198.18.0.11:6379/0?ssl_ca_certs=/ca.pem",
    }

    settings = load_settings(environ)

    assert unsafe(settings, load_accounts(settings, environ)) == []
