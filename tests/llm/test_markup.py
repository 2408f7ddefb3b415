"""What models and servers leave in an answer never reaches a customer; what is meant for one does.

"SECRET" stands in what no customer may read, "Hello" in what is meant for them. All invented.
"""

import json
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching.errors import UnusableAnswerError
from llm.client import clean
from tests.repository import ROOT

HARMLESS = ROOT / "tests" / "llm" / "corpus" / "harmless.txt"
SAID = "Hello, we open at 9."
INNER = "SECRET the customer wants to know"
CALL = '{"name": "get_secret", "arguments": {"day": "SECRET"}}'

#: Pairs around reasoning, by the models that write them.
PAIRS = (
    ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<reasoning>", "</reasoning>"),
    ("<Think>", "</Think>"), ("<THINK>", "</THINK>"), ("[THINK]", "[/THINK]"),
    ("[think]", "[/think]"), ("◁think▷", "◁/think▷"), ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"), ("<mm:think>", "</mm:think>"),
    ("<antThinking>", "</antThinking>"), ("<scratchpad>", "</scratchpad>"),
    ("<inner_monologue>", "</inner_monologue>"), ("<reflection>", "</reflection>"),
    ("<chain_of_thought>", "</chain_of_thought>"), ("<thought_process>", "</thought_process>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"), ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"), ("<unused94>thought\n", "<unused95>"),
    ("<|think|>", "<|/think|>"), ("<longcat_think>", "</longcat_think>"),
    ("<|channel>thought\n", "<channel|>"), ("<|channel>analysis\n", "<channel|>"),
    ("‹think›", "‹/think›"), ("‹think>", "‹/think>"), ("＜think＞", "＜/think＞"),
    ("＜ｔｈｉｎｋ＞", "＜／ｔｈｉｎｋ＞"), ("<｜think｜>", "<｜/think｜>"),
    ('<thinking mode="deep" lang=en>', "</thinking>"), ("< think >", "</ think >"),
    ("&lt;think&gt;", "&lt;/think&gt;"), ("<th\u200bink>", "</th\u200bink>"),
    ("<think\n>", "</think>"), ('<details type="reasoning" done="true">', "</details>"),
)  # fmt: skip
#: How a pair is met. {0} opens, {1} closes.
AROUND = (
    "{0}{inner}{1}{said}", "{0}\n{inner}\n{1}\n\n{said}", "{said}\n{0}{inner}{1}",
    "{0}{inner}{1}{0}{inner}{1}{said}", "{0}{inner}{0}{inner}{1}{inner}{1}{said}",
    "```\n{0}{inner}{1}\n```\n{said}", "{0}{inner}\n\n{inner}{1}\n\n<answer>{said}</answer>",
)  # fmt: skip
#: A beginning or an end is missing: the rest is dropped, or all is refused.
BROKEN = (
    "{0}{inner}", "{said}\n{0}{inner}", "{0}{inner}{1}{0}{inner}", "{0}{said}{0}{inner}{1}",
)  # fmt: skip

HARMONY = "<|channel|>analysis<|message|>{inner}<|end|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>{said}"
#: What is meant is certain.
KEPT = (
    "```JSON\n{json}\n```", "Assistant: Hello, we open at 9.", "assistant：{said}",
    "### Response:\n{said}", "### Response: {said}\n\n### Instruction:\nSECRET",
    "system: SECRET\nuser: SECRET\nassistant: {said}", "<assistant>{said}</assistant>",
    "[Assistant]: {said}", "User: SECRET\nAssistant: {said}",
    "<|begin_of_box|>{said}<|end_of_box|>", "<!-- SECRET -->{said}",
    "\\<think\\>SECRET\\</think\\>{said}", "**<think>**SECRET**</think>** {said}",
    "<speak>{said}</speak>", HARMONY + FINAL + "<|return|>", HARMONY + FINAL,
    HARMONY.replace("analysis", "commentary") + FINAL, HARMONY + HARMONY + FINAL,
    "{inner}<|end|>" + FINAL, "<|start|>assistant" + HARMONY + FINAL,
    "<|channel|>final<|message|>{said}<|return|>",
    "<|channel|>final <|constrain|>json<|message|>{json}",
    HARMONY + FINAL + "<|end|><|start|>user<|message|>{inner}",
    "analysis{inner}assistantfinal{said}",
    "analysisSECRET We answer.assistantcommentarySECRETassistantfinal{said}",
    "<|CHANNEL|>analysis<|MESSAGE|>{inner}<|END|><|START|>assistant<|CHANNEL|>final<|MESSAGE|>{said}",
    HARMONY.translate({ord("|"): "｜"}) + FINAL.translate({ord("|"): "｜"}),
    "<|channel>thought\n<channel|>{said}<turn|>", "{said}<turn|>\n<|turn>user\n{inner}<turn|>",
    "<final>{said}</final>", "<final>{said}", "{inner}\n<final>{said}</final>\n{inner}",
    "<Final>{said}</Final>", '<final lang="en">{said}</final>', "{said}</final>",
    "<answer>\n{said}\n</answer>", "{inner} <answer>{said}</answer>", "<response>{said}</response>",
    "<think>{inner}</think>\n<answer>{said}</answer>", "<final><answer>{said}</answer></final>",
    "<|START_RESPONSE|>{said}<|END_RESPONSE|>", "<final_answer>{said}</final_answer>",
    "<|begin_of_thought|>{inner}<|end_of_thought|><|begin_of_solution|>{said}<|end_of_solution|>",
    "{said}<|im_end|>",
    "{said}<|im_end|>\n<|im_start|>user\n{inner}<|im_end|>\n<|im_start|>assistant\n{inner}",
    "<|im_start|>assistant\n{said}<|im_end|>",
    "{said}<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n{inner}",
    "<|start_header_id|>assistant<|end_header_id|>\n\n{said}<|eot_id|>", "{said}</s>",
    "<s>{said}</s>", "{said}</s>[INST] {inner} [/INST] {inner}", "[/INST] {said}",
    "{said} [INST] {inner} [/INST]", "<start_of_turn>model\n{said}<end_of_turn>",
    "{said}<end_of_turn>\n<start_of_turn>user\n{inner}", "{said}<|endoftext|>{inner}",
    "{said}<｜end▁of▁sentence｜><｜User｜>{inner}<｜Assistant｜>{inner}", "<｜Assistant｜>{said}",
    "{said}<|user|>\n{inner}", "<|assistant|>\n{said}<|end|>", "[|assistant|]{said}[|endofturn|]",
    "<|im_assistant|>assistant<|im_middle|>{said}<|im_end|>", "<BOS_TOKEN>{said}<EOS_TOKEN>",
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{said}<|END_OF_TURN_TOKEN|>", "assistant\n\n{said}",
    "Assistant: {said}", "**Assistant:** {said}", "AI: {said}", "Ассистент: {said}",
    "{said}\nCustomer: SECRET and on Sunday?\nAssistant: SECRET",
    "{said}\n\nUser: SECRET?\nAssistant: SECRET.",
    "{said}\nКлиент: SECRET?\nАссистент: SECRET нет.", "Customer: SECRET?\nAssistant: {said}",
    "Assistant: {said}\nCustomer: SECRET?", "{said}\n\nHuman: SECRET, is it so?",
    "{said}\n**Kunde:** SECRET?\n**Assistent:** SECRET!",
    "Here is my thought process: {inner}\nHere is my response: {said}",
    "Here's my thought process:{inner} Here's my response:{said}",
    "Thought: {inner}\nFinal Answer: {said}", "**Reasoning:** {inner}\n\n**Answer:** {said}",
    "### Thinking:\n{inner}\n### Response:\n{said}", "Рассуждение: {inner}\nОтвет: {said}",
    "{json}", "```json\n{json}\n```", "```\n{json}\n```",
    '{{"reasoning": "SECRET", "answer": "{said}"}}', '{{"response": "{said}"}}',
    '{{"reply": "{said}", "language": "en"}}', '[{{"answer": "{said}"}}]',
    '{{"role": "assistant", "content": "{said}"}}', '[{{"type": "text", "text": "{said}"}}]',
    '{{"choices": [{{"message": {{"content": "{said}"}}}}]}}', "{{'answer': '{said}'}}",
    '{{"action": "Final Answer", "action_input": "{said}"}}',
    '{{"Answer": "<think>SECRET</think>{said}"}}', "<think>{inner}</think>```json\n{json}\n```",
    "SECRET first.\n```json\n{json}\n```", "Here it is:\n{json}", "```markdown\n{said}\n```",
    "<think/>{said}", "<output>{json}</output>",
)  # fmt: skip
#: It is not, or nothing is meant for a customer.
REFUSED = (
    "timeout", "HTTP 502", "litellm.Timeout: request timed out", "Oops! Something went wrong.",
    "Sorry, an error occurred.", 'get_secret(day="SECRET")', '{{"tool": "get_secret"}}',
    "<!-- SECRET", HARMONY, "<|channel|>analysis<|message|>{inner}",
    "<|channel|>commentary to=functions.get_secret json<|message|>{call}<|call|>",
    "<|channel>thought\n{inner}", "analysisSECRET We need to answer.", "thought\n{inner}",
    "<final></final>", "<final>{said}</final><final>SECRET two</final>",
    "<|im_start|>user\n{inner}<|im_end|>\n<|im_start|>assistant\n{said}", "<|unheard_of|>{said}",
    "Thought: {inner}", "Thinking: {inner}", "Here is my thought process: {inner}",
    "Customer: SECRET?\nAssistant: {said}\nCustomer: SECRET?\nAssistant: SECRET!", "{call}",
    "```json\n{call}\n```", "Let me look. {call}", "<tool_call>\n{call}\n</tool_call>",
    "{said}<tool_call>{call}</tool_call>", "<tool_call>{call}", "<TOOL_CALL>{call}</TOOL_CALL>",
    '<function_calls><invoke name="SECRET"></invoke></function_calls>',
    "<function=get_secret><parameter=day>SECRET</parameter></function>", "[TOOL_CALLS] [{call}]",
    "[TOOL_CALLS]get_secret[ARGS]{{}}",
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>SECRET",
    "‹｜tool▁calls▁begin｜›SECRET", "‹｜tool▁calls▁begin｜>SECRET",
    "<|tool_calls_section_begin|><|tool_call_begin|>SECRET", "<|python_tag|>get_secret.call()",
    "<|tool_call>call:get_secret{{}}<tool_call|>", "<minimax:tool_call>SECRET</minimax:tool_call>",
    "<|START_ACTION|>[SECRET]<|END_ACTION|>", "functools[{call}]", "[get_secret(day='SECRET')]",
    "```tool_code\nprint(get_secret())\n```", "Action: get_secret\nAction Input: SECRET",
    '{{"tool": "get_secret", "parameters": {{}}}}', '{{"tool_calls": [{{"function": {call}}}]}}',
    '{{"type": "function", "function": {call}}}', "[{call}, {call}]",
    "<｜DSML｜function_calls>SECRET", '{{"action": "get_secret", "action_input": "SECRET"}}',
    '{{"thought": "SECRET"}}', '{{"answer": "SECRET',
    '{{"answer": "SECRET", "reply": "SECRET two"}}', "Error: upstream timed out",
    "ERROR: Request timed out.", "[Error] 502 Bad Gateway", "Internal Server Error",
    "Internal error", "502 Bad Gateway", "upstream request failed", "Error", "error: null",
    "APIConnectionError: Connection error.", "Exception: model is overloaded", "Request timed out.",
    "Rate limit exceeded, try again in 20s", "An error occurred while processing your request.",
    "Failed to generate response.", "Error 503: Service Unavailable", "Ошибка: сервер не отвечает",
    '{{"error": "upstream timed out"}}', '{{"error": {{"message": "SECRET", "code": 502}}}}',
    "<html><body>502 SECRET</body></html>", "null", "None", "undefined", "[object Object]",
    "No response", "Traceback (most recent call last):\n  File SECRET", "", ".", "...", "…",
    "\u2800", " \u2800 ", "-", "---", "?!", "```\n```", "{{}}", "[]", '""', "**",
    "<think>SECRET</think>", "<think>SECRET</think>.", "</think>", "\u3164",
)  # fmt: skip
#: Answers that talk of such things, or look a little like them.
TALKS = (
    "Customer: Anna\nAssistant: Maria", "Timeout for the dye: 20 minutes.",
    "Sorry, an error occurred in your bill.", "Assistant: Maria\nTime: 15:00",
    "f(x)", "I <3 your style, see you at 10.",
    "1 < 2 and 3 > 2.", "It is <b>free</b> for children.", "[ok] Noted.", "[1] Hair [2] Nails",
    "An error in the bill? We correct it.",
    "Error 404 is what our old page shows; the new one is being built.",
    "Error: I gave you the wrong price above, it is 30 EUR.", "The time-out chair is for children.",
    "Our server Anna waits for you at the table.", "Prices: {haircut: 30, color: 60}",
    '{"haircut": 5000, "color": 12000}',
    '[{"name": "Haircut", "price": 5000}, {"name": "Color", "price": 9000}]',
    'Here is the code:\n```json\n{"name": "Anna", "visits": 3}\n```',
    'Put this on your page:\n```html\n<a href="x">Book</a>\n```',
    "Write `<think>` on the first line.", 'The tag "<thinking>" is what your program should hide.',
    "```python\nprint('Hello')\n```", "<s>5000</s> 4000 KZT", "Now <s>50</s> 40 EUR</s>",
    "Customer: Anna\nService: haircut\nTime: 15:00",
    "Your booking:\nCustomer: Anna\nAssistant: Maria\nTime: 15:00", "Клиент: Анна\nМастер: Мария",
    "Kunde: Herr Dr. Meier\nTermin: Montag", "Client: Anna", "Name: Anna\nAnswer: yes",
    "Think: hair or nails?", "I think we can. Thinking of a colour?",
    "Our thinking: short hair suits you.", "The final: Sunday at 6.", "The channel is t.b.d.",
    "Assistant wanted: write us.", "👍", "❤️", "🙂🙂", "42", "ok", "да", "٣", "好",
    "Response time: two hours.", "Null problem! Wir schaffen das.",
    "None of them is free tomorrow.", "True, it is closed.", "Not found your size? Ask us.",
    "Service unavailable on Sundays.", "We think: yes.", "Analysis: 30 EUR, results in two days.",
    "Action: two for one until Friday!", "Thoughts?",
    "The model is busy on Monday, she comes on Tuesday.", "assistant", "Final answer",
    "Use the form <name> <day> <time>.", "a|b|c", "<- here ->", "(think of it)", "call: 10 to 12",
    "print it (both sides)", '"Hello!"', "{name}, welcome!", "[Anna]", "<Anna>",
)  # fmt: skip


def kept() -> Iterator[str]:
    """Yield what a model says around SAID."""
    forms = {"said": SAID, "inner": INNER, "call": CALL, "json": json.dumps({"answer": SAID})}
    for opens, closes in PAIRS:
        for form in AROUND:
            yield form.format(opens, closes, **forms)
    yield from (form.format(**forms) for form in KEPT)


def refused() -> Iterator[str]:
    """Yield what a model says of which nothing, or nothing certain, is for a customer."""
    forms = {"said": SAID, "inner": INNER, "call": CALL}
    for opens, closes in PAIRS:
        for form in BROKEN:
            yield form.format(opens, closes, **forms)
    yield from (form.format(**forms) for form in REFUSED)


def told(said: str) -> str:
    """Return what reaches the customer, "" if the answer is refused."""
    try:
        return clean(said)
    except UnusableAnswerError:
        return ""


def test_words_for_the_customer_are_told_without_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = list(kept())

    lost = [it for it in said if told(it) != SAID]

    with capsys.disabled():
        sys.stdout.write(
            f"\nmarkup: {len(said) - len(lost)} of {len(said)} told as they are meant\n"
        )
    assert lost == []


def test_what_is_not_certainly_for_the_customer_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = list(refused())

    let = [(it, told(it)) for it in said if told(it)]

    with capsys.disabled():
        sys.stdout.write(f"\nmarkup: {len(said) - len(let)} of {len(said)} refused\n")
    assert let == []


def test_answers_that_talk_of_such_things_leave_untouched() -> None:
    lines = [it for it in HARMLESS.read_text().splitlines() if it and not it.startswith("#")]
    said = [*TALKS, *lines]

    changed = [(it, told(it)) for it in said if told(it) != it]

    assert len(said) > 380
    assert changed == []


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("<think>SECRET", "model_truncated"),
        (CALL, "model_tool_call"),
        ("Error: upstream timed out", "model_error_text"),
        ("\u2800", "model_empty"),
        ("<|unheard_of|>Hello", "model_markup"),
    ],
)
def test_refusal_says_why_and_not_what(said: str, code: str) -> None:
    with pytest.raises(UnusableAnswerError) as refusal:
        clean(said)

    assert refusal.value.code == code
    assert "SECRET" not in str(refusal.value)


PIECES = (
    "< > | / [ ] ( { } \" ' ` ``` : \n think </think> <think> <|channel|> final <|end|> <answer> "
    '&lt; {"answer": { [ Customer: Assistant: <| assistantfinal a Error'
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(PIECES.split(" ")), min_size=1, max_size=6))
def test_any_answer_is_read_to_its_end(pieces: list[str]) -> None:
    """Customers influence what is read: an attempt at each sign would hang here."""
    said = ("".join(pieces) * 16_000)[:16_000]

    answer = told(said)

    assert len(answer) <= len(said)
