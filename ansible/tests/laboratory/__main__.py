"""The laboratory by hand: ``PYTHONPATH=ansible/tests python -m laboratory up four``, and so on."""

import argparse
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

from laboratory import network
from laboratory.debian import SYSTEM, SYSTEMS, ensure_pool
from laboratory.hosts import TOPOLOGIES
from laboratory.places import LaboratoryError, Names, cache
from laboratory.scenarios import LONG, SCENARIOS, SHORT, prove
from laboratory.site import Site, passing
from laboratory.stage import DEPLOYS
from laboratory.world import World
from tests.chaos.record import Record


def _prepare(given: argparse.Namespace) -> int:
    with passing(given.prefix, "one", given.system):
        print(f"hosts can be made here, from what is in {cache()}")
    return 0


def _up(given: argparse.Namespace) -> int:
    site = Site(given.prefix, given.kind, given.system)
    site.up()
    print(f"up; inventory: {site.inventory.path}")
    return 0


def _down(given: argparse.Namespace) -> int:
    # Of a laboratory that broke off while it was made, any kind takes away all there is.
    Site(given.prefix, "one").down()
    return 0


def _play(given: argparse.Namespace) -> int:
    return Site(given.prefix).controller.show(given.playbook, given.arguments)


def _ssh(given: argparse.Namespace) -> int:
    guest = Site(given.prefix).hosts.guests[given.host]
    return subprocess.run(guest.ssh_command(*given.arguments), check=False).returncode


def _host(given: argparse.Namespace) -> int:
    guest = Site(given.prefix).hosts.guests[given.host]
    verbs = {
        "start": guest.start,
        "stop": guest.stop,
        "cut": guest.cut_power,
        "freeze": guest.freeze,
        "thaw": guest.thaw,
    }
    verbs[given.verb]()
    return 0


def _prove(given: argparse.Namespace) -> int:
    directory: Path = given.output or cache() / "proofs"
    problems: list[str] = []
    for kind in given.kind or (("one",) if given.short else ("one", "four", "beside")):
        every = ("beside",) if kind == "beside" else LONG
        scenarios = given.scenarios or (SHORT if given.short else every)
        kept = directory / kind
        problems += prove(
            given.prefix,
            (kind, given.system),
            scenarios,
            kept,
            seed=given.seed,
            deploys=given.deploys,
        )
    print("\n".join([*problems, f"problems: {len(problems)}; see {directory}"]))
    return 1 if problems else 0


def _serve(given: argparse.Namespace) -> int:
    packages = ensure_pool(Site(given.prefix).system)
    network.enter(Names(given.prefix).controller)
    World(packages, Record(), random.Random(0), lambda *_: None)  # noqa: S311 - no secret
    threading.Event().wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="laboratory", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    chosen = os.environ.get("LABORATORY", "lab")
    common.add_argument("--prefix", default=chosen, help="what the laboratory's parts are called")
    verbs = parser.add_subparsers(required=True, metavar="VERB", dest="verb")

    def verb(name: str, run: object, says: str) -> argparse.ArgumentParser:
        command = verbs.add_parser(name, help=says, parents=[common])
        command.set_defaults(run=run)
        return command

    def system(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
        command.add_argument("--system", choices=SYSTEMS, default=SYSTEM, help="of every host")
        return command

    system(verb("prepare", _prepare, "download what is needed, once, and see a host come up"))
    system(verb("up", _up, "make hosts")).add_argument("kind", choices=TOPOLOGIES)
    verb("down", _down, "take them away")
    play = verb("play", _play, "run a playbook")
    play.add_argument("playbook")
    play.add_argument("arguments", nargs=argparse.REMAINDER)
    ssh = verb("ssh", _ssh, "run a command on a host")
    ssh.add_argument("host")
    ssh.add_argument("arguments", nargs=argparse.REMAINDER)
    for name in ("start", "stop", "cut", "freeze", "thaw"):
        verb(name, _host, f"{name} a host").add_argument("host")
    proof = system(verb("prove", _prove, "make hosts, play scenarios on them, take them away"))
    proof.add_argument("scenarios", nargs="*", help=f"of {', '.join(SCENARIOS)}; default: all")
    proof.add_argument(
        "--kind",
        action="append",
        choices=TOPOLOGIES,
        help="default: one, four and beside; with --short one",
    )
    proof.add_argument("--short", action="store_true", help=f"on one host: {', '.join(SHORT)}")
    proof.add_argument("--deploys", type=int, default=DEPLOYS, help="of the scenario deploys")
    proof.add_argument("--seed", type=int, default=1)
    proof.add_argument("--output", type=Path, help="where playbooks' outputs and histories go")
    verb("serve", _serve, "serve the world outside (up does it)")
    return parser


def main() -> int:
    """Run one verb and return the exit status."""
    given = _parser().parse_args()
    try:
        status: int = given.run(given)
    except LaboratoryError as error:
        print(error, file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
