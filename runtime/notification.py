"""What a person is told of an alert, in words, whatever carries it: Sentry, a mail, a phone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from batching.alerts import Alert, code_of
from batching.background import Background
from batching.inspect import Step
from runtime.meanings import Meaning, Severity, events, kind, meaning
from runtime.settings import Settings
from runtime.units import span

#: What the subject of an alert is where it names no account.
_SOME_ACCOUNT = "an account"
_RUNBOOK = "runbook.md"
_CONVERSATION = re.compile(r"c_[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class Links:
    """Where a person reads on. ``docs``: the folder of the documents; ``console``: "" for none."""

    docs: str = ""
    console: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Links":
        """Return the links of an installation."""
        return cls(settings.docs_url, settings.console_url)

    def runbook(self, section: str) -> str:
        """Return where a section of the runbook is: an address, else its place in the release."""
        anchor = f"#{section}" if section else ""
        return f"{self.docs or 'docs'}/{_RUNBOOK}{anchor}"

    def conversation(self, conversation_id: str) -> str:
        """Return where a conversation is seen, "" without a console."""
        if not self.console:
            return ""
        is_digest = _CONVERSATION.fullmatch(conversation_id)
        return f"{self.console}?conversation={conversation_id}" if is_digest else self.console


@dataclass(frozen=True, slots=True)
class Notification:
    """One alert for a person; no part of it holds a customer's text, name or number.

    ``title``: account and what happened, one line. ``to_do``: one sentence. ``runbook``: an
    address, or a place in the release. ``console``: an address, "" for none. ``code``: the cause,
    "" if unknown. ``conversation_id`` is the keyed digest. ``at_ms``: when it happened, 0 for a
    summary. ``count``: how many alerts it stands for. ``waited_ms``, ``stage``: how long the batch
    has waited and for what, 0 and "" if unknown. ``steps``: what became of the batch so far.
    """

    name: str
    title: str
    to_do: str
    runbook: str
    console: str
    severity: Severity
    kind: str
    code: str
    account_id: str
    conversation_id: str
    batch_id: str
    at_ms: int
    count: int = 1
    waited_ms: int = 0
    stage: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def text(self) -> str:
        """Return it as a short message: what happened, what to do, where to read on; in lines."""
        return "\n".join(filter(None, (self.title, self.to_do, self.runbook, self.console)))


def notification_of(
    alert: Alert, links: Links, background: Background | None = None
) -> Notification:
    """Return what a person is told of ``alert``; ``background``: what the ledger has of it."""
    background = background or Background()
    known = kind(alert.kind)
    code = code_of(alert.detail) or background.code
    cause = _said(alert.detail, code) or meaning(code)
    words = {
        "account": alert.account_id or _SOME_ACCOUNT,
        "waited": f" for {span(background.waited_ms)}" if background.waited_ms else "",
    }
    title = (known.titles if alert.throttled else known.title).format_map(words)
    more = f", {alert.throttled} more times" if alert.throttled else ""
    says = cause.says if cause else known.says
    unknown = f" ({code})" if code and not cause else ""
    return Notification(
        name=alert.name,
        title=_sentence(f"{title}{more}: {says}{unknown}"),
        to_do=f"{_sentence((cause or known).to_do)}.",
        runbook=links.runbook((cause and cause.runbook) or known.section(code)),
        console=links.conversation(alert.conversation_id),
        severity=known.severity,
        kind=alert.kind,
        code=code,
        account_id=alert.account_id,
        conversation_id=alert.conversation_id,
        batch_id=alert.batch_id,
        at_ms=alert.at_ms,
        count=alert.throttled or 1,
        waited_ms=background.waited_ms,
        stage=background.stage,
        steps=background.steps,
    )


def _said(detail: str, code: str) -> Meaning | None:
    """Return what a detail itself says: "code: what happened: what to do", as a provider's news."""
    named, *words = detail.split(": ", 2)
    return Meaning(*words) if code and named == code and len(words) > 1 else None


def event_text(name: str, fields: Mapping[str, object], links: Links) -> list[str]:
    """Return what a person is told of a log event at ERROR: what happened, what to do, a link.

    [] for one that the table does not know, such as a library's.
    """
    known = events().get(name)
    if known is None:
        return []
    account, cause = fields.get("account"), meaning(str(fields.get("code", "")))
    title = f"{known.says}: {cause.says}" if cause else known.says
    told = cause or known
    return [
        f"{account}: {title}" if account else _sentence(title),
        f"{_sentence(told.to_do)}.",
        links.runbook(told.runbook or known.runbook),
    ]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
