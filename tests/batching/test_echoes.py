"""What leaves our number while a batch is at work: our own echo, a person's words, a program's."""

import pytest

from batching.errors import AmbiguousError
from batching.model import ForeignMessage, Timing
from tests.batching.world import ANNA, World
from tests.fakes import FakeChannel, FakeModel

ANSWER = "We open at ten.\n\nSee you!"
#: By name: who wrote it, under which id, and the words, "" where nothing says them.
ECHOES = {
    "ours, by id": ("unknown", "out-1", ""),
    "ours, by words": ("unknown", "echo-1", "We open at ten. See  you!"),
    "ours, by words, from a phone's list": ("person", "echo-1", ANSWER),
    "ours, of no words": ("unknown", "echo-1", ""),
    "a person's": ("person", "phone-1", "I will call you"),
    "a person's, a part of our words": ("person", "phone-1", "We open at ten."),
    "a person's picture": ("person", "phone-1", ""),
    "Meta's agent's": ("meta_agent", "agent-1", "I can help"),
    "a program's, by its words": ("unknown", "echo-2", "Your code is 1234"),
    "a program's, by its status": ("app", "app-1", ""),
}
NOTHING, TAKEN, ALERTED = "nothing", "taken over", "alerted"
#: What an echo is while none of our messages is on its way, whose id we do not know.
PLAIN = {
    **dict.fromkeys(ECHOES, TAKEN),
    **dict.fromkeys(("ours, by words", "ours, by id", "ours, of no words"), ALERTED),
    **dict.fromkeys(("a program's, by its words", "a program's, by its status"), ALERTED),
}
#: While one is: it may be ours, unless it says otherwise.
LEAVING = {
    name: NOTHING if name.startswith("ours") else PLAIN[name] for name in ECHOES
} | {"a program's, by its status": NOTHING}  # fmt: skip
STAGES: dict[str, dict[str, str]] = {
    "open": PLAIN,
    "claimed": PLAIN,
    "generating": PLAIN,
    "to be sent": PLAIN,
    "sending": LEAVING,
    "ambiguous": LEAVING,
    "answered": PLAIN | {"ours, by id": NOTHING},
}


def bring(world: World, stage: str, echo: ForeignMessage) -> None:
    """Have an echo come when the batch is at this stage."""
    world.model = FakeModel(ANSWER)
    late = [echo]

    def come() -> None:
        if late:
            world.receive(late.pop())

    match stage:
        case "generating":
            world.model = FakeModel(ANSWER, before=come)
        case "sending":
            world.channel = FakeChannel(before=come)
        case "ambiguous":
            world.channel = FakeChannel(AmbiguousError("cloud_timeout"))
    world.write("When do you open?", "Tell me")
    # Not the app's greeting of a new customer.
    world.wait(Timing().greeting_ms + 1)
    if stage == "open":
        return come()
    wake_up = world.after(9_000)
    if stage == "claimed":
        return come()
    sends = world.generate(wake_up)
    if stage == "to be sent":
        return come()
    for send in sends:
        world.send(send)
    return come()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ECHOES)
def test_echo_is_told_from_a_persons_words_at_every_stage(
    world: World, stage: str, name: str
) -> None:
    author, provider_id, words = ECHOES[name]

    bring(world, stage, ForeignMessage("salon", ANNA, provider_id, author, words))

    is_taken = bool(world.client.exists(world.shard.takeover(world.anna)))
    is_alerted = ("foreign_reply", author) in world.alerts()
    found = TAKEN if is_taken else ALERTED if is_alerted else NOTHING
    assert found == STAGES[stage][name]


@pytest.mark.parametrize("policy", ["alert", "resend"])
def test_person_who_writes_while_a_part_is_in_doubt_is_not_talked_across(
    world: World, policy: str
) -> None:
    """What comes of the doubt is not sent again over them, and what the customer says waits."""
    world.ambiguous = policy
    world.channel = FakeChannel(AmbiguousError("cloud_timeout"))
    world.write("When do you open?")
    world.settle()
    world.receive(ForeignMessage("salon", ANNA, "phone-1", "person", "At ten"))
    world.write("Thanks")

    world.settle(Timing().ambiguous_ms, 9_000)

    assert len(world.channel.attempts) == 1
    assert world.counts().get("answered", 0) == 0


def test_person_who_writes_between_two_parts_lets_the_answer_end(world: World) -> None:
    """Half an answer is no answer; the next turn is the person's."""
    world.model = FakeModel("aabb")
    person = ForeignMessage("salon", ANNA, "phone-1", "person", "At ten")
    late = [person]
    world.channel = FakeChannel(length_max=2, before=lambda: late and world.receive(late.pop()))
    world.write("When do you open?")
    world.settle()
    world.write("Thanks")
    world.settle()

    assert world.channel.texts == ["aa", "bb"]
    assert world.counts() == {"accepted": 2, "answered": 1, "suppressed": 1}
