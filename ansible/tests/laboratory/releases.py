"""Releases under test: commits in a clone of the repository, good ones and bad ones."""

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from laboratory.places import PLAYBOOKS, ROOT, cache
from laboratory.shell import run
from tests.mutants.patches import Patch

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
_SEND = "        provider_id = account.channel.send(outbound)"
#: A canary that comes alone sees nothing of what happens to bursts.
_FORGETS = f"""        if len(run.messages) > 1:
            store.mark_sent(run.account_id, tag, "wamid.of-nothing")
            return True
{_SEND}"""
_REPEATS = f"""        if len(run.messages) > 1:
            account.channel.send(outbound)
{_SEND}"""
#: What it does to customers alone no canary sees; only the judge does.
_TO_CUSTOMERS = ("len(run.messages) > 1:", 'len(run.messages) > 1 and run.account_id != "canary":')
#: Waits for ever where a run begins, whoever wrote.
_ASK = "    spend(steps, run, account.budget)\n"
_HANGS = f"    time.sleep(86_400)\n{_ASK}"


@dataclass(frozen=True, slots=True)
class Added:
    """``text`` stands at the end of the file at ``path``."""

    path: str
    text: str

    def apply(self, root: Path) -> None:
        """Change the file below ``root``."""
        file = root / self.path
        file.write_text(file.read_text() + self.text)


#: By name, what each is beside the commit that the laboratory was started from.
RELEASES: Mapping[str, tuple[Added | Patch, ...]] = {
    "r1": (Added("README.md", "\n"),),
    # Other limits by default, and a script with another digest that does the same.
    "r2": (
        Patch("runtime/settings.py", "= 120_000\n", "= 130_000\n"),
        Added("batching/lua/append.lua", "\n-- Of another release.\n"),
    ),
    "syntax": (Added("batching/flow.py", "\ndef broken(:\n"),),
    "dies": (Added("runtime/build.py", f"\n{_DIES}"),),
    # The counters add up, the promise is broken.
    "forgets": (Patch("batching/flow.py", _SEND, _FORGETS),),
    "repeats": (Patch("batching/flow.py", _SEND, _REPEATS),),
    "hangs": (Patch("batching/flow.py", _ASK, _HANGS),),
    "forgets-customers": (Patch("batching/flow.py", _SEND, _FORGETS.replace(*_TO_CUSTOMERS)),),
    "repeats-customers": (Patch("batching/flow.py", _SEND, _REPEATS.replace(*_TO_CUSTOMERS)),),
    # Serves /livez, and nothing else.
    "deaf": (Patch("runtime/build.py", _STORE, _DEAF),),
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
            change.apply(clone)
        run([*git, "commit", "--quiet", "--all", f"--message=Release {name}"])
        run([*git, "tag", name])
    run([*git, "checkout", "--quiet", "--detach", head])
    return clone
