"""``fleet``: who is running, since when, with what, and whether they agree."""

from cli.common import EXIT_ACT, EXIT_OK, Request, write, write_json
from runtime.clients import redis_client
from runtime.fleet import Member, drift, members, missing
from runtime.settings import load_settings


def run(request: Request) -> int:
    """Print the members and their problems; 1 if there are problems.

    Raise ConfigurationError or LedgerUnavailableError.
    """
    found = members(redis_client(load_settings(request.environ).redis_url, "manage"))
    problems = [*missing(found), *drift(found, 0)]
    if request.as_json:
        write_json({"members": [member.as_json() for member in found], "problems": problems})
    else:
        lines = [_line(member) for member in found]
        write([*lines, *problems] if problems else [*lines, f"{len(found)} processes agree."])
    return EXIT_ACT if problems else EXIT_OK


def _line(member: Member) -> str:
    state = "alive" if member.is_alive else f"silent for {member.silent_ms} ms"
    return f"{member.name}  release {member.release}  settings {member.fingerprint}  {state}"
