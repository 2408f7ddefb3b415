"""A host that is not bare: what others have on it stays as it is, or nothing is begun."""

from laboratory.hosts import TOPOLOGIES
from laboratory.places import LaboratoryError
from laboratory.stage import Stage

#: What they have, their processes among it.
_THEIRS = """
redis-cli get shop:basket; curl -s http://127.0.0.1:8088/
systemctl show --property=MainPID,UnitFileState,DropInPaths redis-server nginx
sha256sum /etc/nginx/nginx.conf /etc/nginx/sites-available/* /etc/redis/redis.conf
ls /etc/nginx/sites-enabled; stat --format '%a %U %G' /etc/redis /var/lib/redis
"""
#: All that a play could change: packages, units, files.
_ALL = """
dpkg-query -W; systemctl list-unit-files --no-legend; getent passwd group
find /etc /opt /usr/local /var/lib/redis -type f -printf '%p %s %T@ %m %u\\n' | sort
"""


def not_bare(stage: Stage) -> None:
    """Refuse by name what is in the way; then live beside it, answer, and change nothing again."""
    if stage.site.kind != "beside":
        return
    guest = stage.guests("ledger")[0]
    before, theirs = guest.ssh(_ALL), guest.ssh(_THEIRS)
    stage.expect("42" in theirs and "the shop" in theirs, f"somebody else has nothing: {theirs}")
    refused = stage.play("site.yml", release="r1")
    said = " / ".join(refused.reasons())
    stage.tell(f"site.yml beside others: {refused.status}: {said}")
    for word in ("Refused, nothing", "6379", "set ledger_port", "shop.test", "proxy_kind: site"):
        stage.expect(refused.status and word in said, f"the refusal does not say {word}")
    stage.expect(guest.ssh(_ALL) == before, "a refused site.yml changed something")
    stage.site.inventory.place(TOPOLOGIES["beside-others"])
    if stage.plays_well("site.yml", release="r1").status:
        raise LaboratoryError("site.yml made no service: nothing else can be tried")
    with stage.traffic("beside others") as chapter:
        chapter.wait(5)
    stage.changes_nothing(release="r1")
    found = guest.ssh(_THEIRS)
    stage.expect(found == theirs, f"somebody else had {theirs}, and has {found}")
