"""An account whose channel is lost: told once, known until it works again."""

import pytest

from batching.model import Gravity, LostChannel, Notice
from tests.batching.world import ANSWERED, End, World

OUT = Notice("salon", "venom_notlogged", Gravity.LOGGED_OUT, "venom_notlogged: it is out: scan")
CLOSED = Notice("salon", "venom_browserclose", Gravity.OFFLINE, "venom_browserclose: shut: start")
BANNED = Notice("salon", "cloud_account_deleted", Gravity.DEAD, "cloud_account_deleted: gone: new")
BACK = Notice("salon", "venom_inchat", Gravity.WELL, "venom_inchat: it is in")
FLAGGED = Notice("salon", "cloud_flagged", Gravity.WARNING, "cloud_flagged: bad: appeal")


def test_lost_channel_is_told_once_and_known(world: World) -> None:
    at_ms = world.clock()

    world.receive(OUT, CLOSED, OUT)

    assert world.alerts() == [("channel_lost", OUT.detail)]
    known = LostChannel("salon", Gravity.LOGGED_OUT, at_ms, OUT.detail)
    assert world.store.lost_channels() == [known]


def test_graver_loss_is_told_too(world: World) -> None:
    world.receive(CLOSED, OUT, BANNED)

    assert world.alerts() == [("channel_lost", it.detail) for it in (CLOSED, OUT, BANNED)]


def test_recovery_is_told_once(world: World) -> None:
    world.receive(BACK, OUT, BACK, BACK)

    assert world.alerts() == [("channel_lost", OUT.detail), ("channel_recovered", BACK.detail)]
    assert world.store.lost_channels() == []


def test_lost_again_is_told_again(world: World) -> None:
    world.receive(OUT, BACK, OUT)

    assert [kind for kind, _ in world.alerts()] == [
        *("channel_lost", "channel_recovered", "channel_lost")
    ]


def test_message_that_leaves_shows_that_the_channel_works(world: World) -> None:
    """A gateway posts once, and that it is logged in may be lost."""
    world.receive(BANNED)
    world.write("Hi")
    world.settle()

    assert world.store.lost_channels() == []
    recovered = ("channel_recovered", "a message was sent")
    assert world.end() == End(ANSWERED, [("channel_lost", BANNED.detail), recovered])


def test_lost_channel_of_one_account_is_no_others(world: World) -> None:
    world.receive(Notice("sister", OUT.name, OUT.gravity, OUT.detail))
    world.write("Hi")
    world.settle()

    assert [it.account_id for it in world.store.lost_channels()] == ["sister"]


def test_warning_is_told_once_a_day(world: World) -> None:
    world.receive(FLAGGED, FLAGGED)
    world.receive(FLAGGED)

    assert world.alerts() == [("channel_warning", FLAGGED.detail)]
    assert world.store.lost_channels() == []


@pytest.mark.parametrize("notice", [BANNED, FLAGGED])
def test_news_of_an_unknown_account_is_told_all_the_same(world: World, notice: Notice) -> None:
    world.receive(Notice("", notice.name, notice.gravity, notice.detail))

    assert world.alerts() == [("channel_warning", notice.detail)]
