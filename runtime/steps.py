"""The steps of a batch in words, for ``trace`` and for whoever is told of the batch."""

from batching.inspect import Step
from batching.window import Rule

#: What happened, by the verb of a step; the step's words fill the braces.
_SENTENCES = {
    "accept": "began to collect",
    "collect": "collected, because {0}",
    "begin": "attempt {1} to {0} began",
    "amend": "the customer's edits and deletions were carried out",
    "checkpoint": "the reply is kept, parts: {0}",
    "mark_sending": "part {0} is being sent",
    "mark_sent": "part {0} was sent",
    "mark_delivered": "part {0} was delivered, as the last that was awaited",
    "mark_failed": "part {0} was sent and not delivered: {1}",
    "fail": "{0}: {1}",
    "reap": "{1} (was {0})",
    "overdue": "overdue: a person was alerted",
    "dead_letter": "became a dead letter, {0}: {1}",
    "finish": "{0}",
    "hand_over": "a person was alerted that they are to go on ({0})",
    "remind": "that person was alerted again",
    "apologize": "the customer is told that a person is still awaited",
    "end_handover": "no person is awaited any more: {0}",
    "supersede": "put back with {0}, because the customer wrote again; {2}",
    "replay": "replayed as {0}",
    "discard": "discarded by a person",
}
#: Words of the scripts that say little to a person.
_TERMS = {
    ("collect", "idle"): "the customer was quiet (idle)",
    ("collect", "size"): "it was full (size)",
    ("collect", "age"): "it had collected for long enough (age)",
    ("fail", "retry"): "failed, to be tried again",
    ("fail", "outage"): "failed, to be tried again",
    ("fail", "unusable"): "the model's answer cannot be used, to be asked twice more at most",
    ("fail", "defer"): "failed, to wait for the account",
    ("fail", "ambiguous"): "a part may have been sent, the provider's status is awaited",
    ("reap", "wake_up"): "not finished in time, a worker is woken again",
    ("reap", "spent"): "the last attempt died too",
    ("reap", "ambiguous"): "the sender died: a part may have been sent",
    ("reap", "unresolved"): "the provider sent no status of the part",
    ("finish", ""): "answered",
    ("finish", "handover"): "deliberately not answered: a person is to answer",
    ("end_handover", "answered"): "a person has written",
    ("end_handover", "resumed"): "a person had us go on",
    ("end_handover", "declined"): "a person declined",
    ("end_handover", "expired"): "nobody came in time",
    ("supersede", "draft"): "a draft was discarded",
    ("supersede", "none"): "no model was asked yet",
    ("finish", "takeover"): "deliberately not answered: a person has taken over",
}
#: So many words has a collection by a fixed window, at most.
_PAUSED = 4
#: What a message looks like by the rules of ``batching.window``.
_LOOKS = {
    Rule.QUESTION: "a question",
    Rule.SENTENCE: "a whole sentence",
    Rule.WORDS: "words without a sign",
    Rule.GREETING: "a greeting",
    Rule.COMMA: "a comma (unfinished)",
    Rule.DASH: "a dash or colon (unfinished)",
    Rule.DOTS: "dots (unfinished)",
    Rule.JOIN: "a word that joins (unfinished)",
    Rule.THANKS: "thanks",
    Rule.EMOJI: "emoji only",
    Rule.REPLY: "a short answer",
    Rule.CHOICE: "a choice",
    Rule.VOICE: "a voice message",
    Rule.STICKER: "a sticker",
    Rule.MEDIA: "a picture or file without words",
}


def looks_like(rule: str) -> str:
    """Return what a message looks like, in plain words, by the name of a rule."""
    return _LOOKS[Rule(rule)] if rule in set(Rule) else rule


def sentence(step: Step) -> str:
    """Return what happened at a step, in plain words; it holds no customer's text."""
    says = _SENTENCES.get(step.verb)
    if says is None:
        return " ".join((step.verb, *step.words))
    if step.verb == "reap" and step.words == ("waiting", "wake_up"):
        return "its wait was over, a worker is woken again"
    words = [_TERMS.get((step.verb, word), word) for word in step.words]
    if step.verb == "collect" and step.words[:1] == ("idle",) and len(step.words) > _PAUSED:
        # Where the window is adaptive; before that stand its first message and the account.
        words[0] += f" for {step.words[3]} ms after {looks_like(step.words[4])}"
    if step.verb.startswith("mark_") and words:
        part, *rest = words
        words = [str(int(part) + 1) if part.isdecimal() else part, *rest]
    return says.format(*words, "", "").rstrip(": ")
