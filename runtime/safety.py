"""What ``check`` refuses in production: guessable secrets, clear text, careless files.

Each refusal names its exception. Exceptions stand at the top of the accounts file, in one place.
"""

import logging
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from urllib.parse import parse_qs, urlsplit

from channels import CHANNELS
from channels.provider import Provider
from config import Mistake, Table
from config.secrecy import SECRET_LENGTH_MIN, secret_problem
from config.urls import host_of, is_link_local, is_local, password_of
from runtime.accounts import AccountConfig, Exceptions, load_exceptions
from runtime.needs import NOTIFY_FIELD, env_names
from runtime.settings import DEVELOPMENT_PRIVACY_KEY, ENV_FILE, Settings
from runtime.sinks import Address

log = logging.getLogger(__name__)

#: Of secrets that others make, or by which nobody can write to us.
OTHER_LENGTH_MIN = 16

#: Schemes in clear text → those with TLS.
_SAFE = {"http": "https", "redis": "rediss", "amqp": "amqps"}
#: Options of Redis' and RabbitMQ's addresses → values with which any certificate is good.
_UNVERIFIED = {
    "ssl_cert_reqs": ("none", "optional"),
    "ssl_check_hostname": ("0", "f", "false", "n", "no"),
}


def log_unsafe(
    settings: Settings,
    configs: Sequence[AccountConfig],
    channels: Mapping[str, Provider],
    addresses: Iterable[Address] = (),
) -> None:
    """Log what is ``unsafe`` in production, and what is ``exposed``, at the start of a process.

    It starts all the same: what was good enough for the release before must not leave customers
    without an answer. ``check`` refuses it, and with it every deployment.
    """
    is_refused = settings.is_production
    for mistake in unsafe(settings, configs, channels, addresses) if is_refused else ():
        log.error("settings.unsafe", extra={"setting": mistake.name, "problem": mistake.problem})
    for mistake in exposed(settings, configs, channels):
        log.warning("account.exposed", extra={"setting": mistake.name, "problem": mistake.problem})


def unsafe(
    settings: Settings,
    configs: Sequence[AccountConfig],
    channels: Mapping[str, Provider] = CHANNELS,
    addresses: Iterable[Address] = (),
) -> list[Mistake]:
    """Return what an installation that answers real customers must not have; [] if all is well.

    ``addresses``: where people are told.
    Raise ConfigurationError if the accounts file cannot be read.
    """
    allowed = load_exceptions(settings)
    secrets = list(dict.fromkeys(_secrets(configs, channels)))
    found = [
        *(
            it
            for where, url in _addresses(settings, configs)
            for it in _address_problems(where, url, allowed)
        ),
        *(it for address in addresses for it in _sink_problems(address, allowed)),
        *_passwords(settings, allowed),
        *_weak(secrets, allowed),
        *_reused([*_kept(settings), *secrets], allowed),
        *_open_accounts(configs, channels),
        *_careless(settings, configs, allowed),
    ]
    return list(dict.fromkeys(found))


def exposed(
    settings: Settings,
    configs: Iterable[AccountConfig],
    channels: Mapping[str, Provider] = CHANNELS,
) -> list[Mistake]:
    """Return what makes real numbers run in a mode that is for trying things out; [] if nothing.

    In it the simulator's page is open to all, and nothing of ``unsafe`` is refused.
    """
    real = [it.account_id for it in configs if not channels[it.channel].development_only]
    if not real:
        return []
    found = []
    if settings.environment not in {"production", "staging"}:
        problem = f"is not for real numbers, such as account {real[0]}: set ENVIRONMENT=production"
        found.append(Mistake("ENVIRONMENT", problem, settings.environment))
    if settings.privacy_key == DEVELOPMENT_PRIVACY_KEY:
        problem = (
            f"is the public one, not for real numbers, such as account {real[0]}; while no message "
            f"waits, set what this prints: openssl rand -hex {SECRET_LENGTH_MIN}"
        )
        found.append(Mistake("PRIVACY_KEY", problem))
    return found


def _where(config: AccountConfig) -> str:
    return f"account {config.account_id}: "


def _refusal(name: str, value: str | None, problem: str, exception: str, item: str) -> Mistake:
    """Return a mistake whose text ends with the line that allows it."""
    line = f'{exception} = ["{item}"]'
    return Mistake(name, f"{problem}; or allow it at the top of the accounts file: {line}", value)


def _addresses(settings: Settings, configs: Iterable[AccountConfig]) -> Iterator[tuple[str, str]]:
    """Yield where each address stands, and the address."""
    names = ("redis_url", "broker_url", "canary_url", "events_url", "sentry_dsn", "traces_url")
    for name in names:
        if url := getattr(settings, name):
            yield name.upper(), url
    for config in configs:
        for path, table in (("", config.entry), *config.models):
            for name, value in table:
                if name.endswith("_url"):
                    yield f"{_where(config)}{path}{name}", value


def _address_problems(name: str, url: str, allowed: Exceptions) -> Iterator[Mistake]:
    host, parts = host_of(url), urlsplit(url)
    if is_link_local(host) and host not in allowed.allow_link_local_hosts:
        problem = "is a link-local or metadata address, where no such service is"
        yield _refusal(name, url, problem, "allow_link_local_hosts", host)
    safe = _SAFE.get(parts.scheme)
    if safe and not is_local(host) and host not in allowed.allow_http_hosts:
        problem = f"sends secrets or customers' words in clear text: use {safe}://"
        yield _refusal(name, url, problem, "allow_http_hosts", host)
    option = _unverified(parts.query)
    if option and host not in allowed.allow_unverified_hosts:
        problem = f"takes any server's certificate, by its option {option}: remove that"
        yield _refusal(name, url, problem, "allow_unverified_hosts", host)


def _sink_problems(address: Address, allowed: Exceptions) -> Iterator[Mistake]:
    """Yield what is wrong with where people are told; the address itself is never shown."""
    name, to = address.name, address.destination
    if is_link_local(to.host) and to.host not in allowed.allow_link_local_hosts:
        problem = "is a link-local or metadata address, where no such service is"
        yield _refusal(name, None, problem, "allow_link_local_hosts", to.host)
    is_elsewhere = bool(to.host) and not is_local(to.host)
    if to.in_clear and is_elsewhere and to.host not in allowed.allow_http_hosts:
        problem = "sends alerts and its own secrets in clear text: use the form with TLS"
        yield _refusal(name, None, problem, "allow_http_hosts", to.host)
    if not to.is_verified and to.host not in allowed.allow_unverified_hosts:
        problem = "takes any server's certificate, by its option verify: remove that"
        yield _refusal(name, None, problem, "allow_unverified_hosts", to.host)


def _unverified(query: str) -> str:
    """Return the option by which a certificate is not checked, "" if there is none."""
    options = parse_qs(query)
    for name, values in _UNVERIFIED.items():
        if options.get(name, [""])[0].strip().lower() in values:
            return name
    # With a protocol of one's own pika makes a context that checks nothing.
    return "ssl_options" if "protocol" in options.get("ssl_options", [""])[0] else ""


@dataclass(frozen=True, slots=True)
class _Secret:
    """A secret: the field that names it, its variable, its value and the least length of that.

    A setting is both. ``is_apart``: it must not be used for anything else.
    """

    field: str
    variable: str
    value: str = dataclass_field(repr=False)
    length_min: int = OTHER_LENGTH_MIN
    is_apart: bool = False

    def refusal(self, problem: str) -> Mistake:
        """Return the mistake of this secret."""
        variable = None if self.field == self.variable else self.variable
        return _refusal(self.field, variable, problem, "allow_weak_secrets", self.variable)


def _secrets(
    configs: Iterable[AccountConfig], channels: Mapping[str, Provider]
) -> Iterator[_Secret]:
    """Yield every secret of an account that this role needs, without those for a server beside us.

    Whoever is on this machine may have agreed on any word with such a server.
    """
    for config in configs:
        provider, values = channels[config.channel], config.secrets
        challenge = provider.challenge.secrets_field if provider.challenge else ""
        # An address where people are told is a secret of another form.
        named = [it for it in env_names(config.entry) if it[0] != NOTIFY_FIELD]
        held = [it for it in named if it[1] in values]
        for name, variable in held:
            if name == provider.secrets_field:
                yield _Secret(name, variable, values[variable], SECRET_LENGTH_MIN)
            elif name == challenge:
                # It stands in the address that is asked, and so in logs of proxies.
                yield _Secret(name, variable, values[variable], is_apart=True)
            elif not _is_beside(config.entry):
                yield _Secret(name, variable, values[variable])
        for path, table in config.models:
            if not _is_beside(table):
                for name, variable in env_names(table, path):
                    if variable in values:
                        yield _Secret(name, variable, values[variable])


def _is_beside(table: Table) -> bool:
    urls = [value for name, value in table if name.endswith("_url")]
    return bool(urls) and all(is_local(host_of(url)) for url in urls)


def _weak(secrets: Iterable[_Secret], allowed: Exceptions) -> Iterator[Mistake]:
    for secret in secrets:
        problem = secret_problem(secret.value, secret.length_min)
        if problem and secret.variable not in allowed.allow_weak_secrets:
            yield secret.refusal(problem)


def _reused(secrets: Sequence[_Secret], allowed: Exceptions) -> Iterator[Mistake]:
    """Yield each secret that must stand apart and has the value of one of another field."""
    for one in filter(lambda secret: secret.is_apart, secrets):
        same = [it for it in secrets if it.value == one.value and it.field != one.field]
        if same and one.variable not in allowed.allow_weak_secrets:
            yield one.refusal(f"must not be the same as {same[0].variable}")


def _passwords(settings: Settings, allowed: Exceptions) -> Iterator[Mistake]:
    """Yield the servers elsewhere without a password, or with one that can be guessed."""
    for name, url in (("REDIS_URL", settings.redis_url), ("BROKER_URL", settings.broker_url)):
        parts = urlsplit(url)
        if parts.scheme == "unix" or is_local(host_of(url)) or "ssl_certfile" in parts.query:
            continue
        problem = secret_problem(password_of(url), OTHER_LENGTH_MIN)
        if problem and name not in allowed.allow_weak_secrets:
            problem = f"the server's password {problem}"
            yield _refusal(name, url, problem, "allow_weak_secrets", name)


def _kept(settings: Settings) -> Iterator[_Secret]:
    """Yield the settings that open or hide something by themselves."""
    for name, value in (
        ("PRIVACY_KEY", settings.privacy_key),
        ("CONSOLE_TOKEN", settings.console_token),
    ):
        if value:
            yield _Secret(name, name, value, is_apart=True)


def _open_accounts(
    configs: Sequence[AccountConfig], channels: Mapping[str, Provider]
) -> Iterator[Mistake]:
    """Yield accounts that anybody can write to, beside real numbers: for staging."""
    tried = [it for it in configs if channels[it.channel].development_only]
    if len(tried) < len(configs):
        for config in tried:
            problem = "anybody can write to it, beside a real number: remove the account"
            yield Mistake(f"{_where(config)}channel", problem, config.channel)


def _careless(
    settings: Settings, configs: Iterable[AccountConfig], allowed: Exceptions
) -> Iterator[Mistake]:
    """Yield files that every user of the machine may read, or write or replace."""
    env, accounts = ENV_FILE.absolute(), settings.accounts_file.absolute()
    watched = dict.fromkeys(
        (accounts.parent / config.entry.prompt_file for config in configs), stat.S_IWOTH
    )
    watched |= {env.parent: stat.S_IWOTH, accounts.parent: stat.S_IWOTH}
    for path, forbidden in {env: stat.S_IRWXO, accounts: stat.S_IRWXO, **watched}.items():
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # There is no .env, and what must be there has been read.
        # In a sticky directory nobody replaces another's file.
        is_sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
        if mode & forbidden and not is_sticky and path.name not in allowed.allow_open_files:
            mode, remedy = stat.S_IMODE(mode), "o-w" if forbidden == stat.S_IWOTH else "o="
            problem = f"is open to every user of this machine (mode {mode:04o}): chmod {remedy} "
            yield _refusal(str(path), None, f"{problem}{path}", "allow_open_files", path.name)
