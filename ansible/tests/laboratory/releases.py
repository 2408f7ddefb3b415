"""Releases under test: commits in a clone of the repository, good ones and bad ones."""

import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from laboratory.places import PLAYBOOKS, ROOT, LaboratoryError, cache
from laboratory.shell import run

#: Dies when it has been ready for a while, whichever process it is.
_DIES = """
import os as _os
import threading as _threading
_timer = _threading.Timer(2.0, lambda: _os._exit(1))
_timer.daemon = True
_timer.start()
"""
#: The web looks for the ledger where nobody listens; the operator's verbs look where it is.
_STORE = "    store = store_of(settings, redis_client(settings.redis_url, role))\n"
_DEAF = """    elsewhere = settings.redis_url.replace(":6379/", ":6399/")
    url = elsewhere if role == "web" else settings.redis_url
    store = store_of(settings, redis_client(url, role))
"""
_SEND = "    provider_id = account.channel.send(Outbound("
#: A canary that comes alone sees nothing of what happens to bursts.
_FORGETS = f"""    if len(run.messages) > 1:
        store.mark_sent(tag, "wamid.of-nothing")
        return True
{_SEND}"""
_REPEATS = f"""    if len(run.messages) > 1:
        account.channel.send(Outbound(customer, run.parts[part], str(tag), answers))
{_SEND}"""


@dataclass(frozen=True, slots=True)
class Change:
    """What a release changes in one file of the repository."""

    path: str
    make: Callable[[str], str]


def _in_place_of(old: str, new: str) -> Callable[[str], str]:
    def make(text: str) -> str:
        if text.count(old) != 1:
            raise LaboratoryError(f"releases under test are stale: not exactly one {old!r}")
        return text.replace(old, new)

    return make


#: By name, what each is beside the commit that the laboratory was started from.
RELEASES: Mapping[str, tuple[Change, ...]] = {
    "r1": (Change("README.md", lambda text: f"{text}\n"),),
    # Other limits by default, and a script with another digest that does the same.
    "r2": (
        Change("runtime/settings.py", _in_place_of("= 120_000\n", "= 130_000\n")),
        Change("batching/lua/append.lua", lambda text: f"{text}\n-- Of another release.\n"),
    ),
    "syntax": (Change("batching/flow.py", lambda text: f"{text}\ndef broken(:\n"),),
    "dies": (Change("runtime/build.py", lambda text: f"{text}\n{_DIES}"),),
    # The counters add up, the promise is broken.
    "forgets": (Change("batching/flow.py", _in_place_of(_SEND, _FORGETS)),),
    "repeats": (Change("batching/flow.py", _in_place_of(_SEND, _REPEATS)),),
    # Serves /livez, and nothing else.
    "deaf": (Change("runtime/build.py", _in_place_of(_STORE, _DEAF)),),
}


def fetch_wheels(python: str) -> None:
    """Have the playbooks' cache hold the wheels: in a laboratory's network nothing can be had.

    ``python``: the version that the guests have.
    """
    build = PLAYBOOKS / "roles/release/files/build.py"
    kept = cache().parent / "ai-admin/releases"
    of_what = [f"--repository={ROOT}", "--ref=HEAD", f"--cache={kept}"]
    for_what = [f"--python={python}", f"--machine={platform.machine()}"]
    run([sys.executable, build, *of_what, *for_what])


def make_releases(directory: Path) -> Path:
    """Return a clone of the checkout's commit with a tag for each release under test."""
    clone = directory / "repository"
    run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone])
    git = ["git", "-C", str(clone), "-c", "user.name=laboratory", "-c", "user.email=l@example.test"]
    head = run([*git, "rev-parse", "HEAD"]).strip()
    for name, changes in RELEASES.items():
        run([*git, "checkout", "--quiet", "--detach", head])
        for change in changes:
            path = clone / change.path
            before = path.read_text()
            path.write_text(change.make(before))
            if path.read_text() == before:
                raise LaboratoryError(f"release {name} is stale: {change.path} stays as it is")
        run([*git, "commit", "--quiet", "--all", f"--message=Release {name}"])
        run([*git, "tag", name])
    run([*git, "checkout", "--quiet", "--detach", head])
    return clone
