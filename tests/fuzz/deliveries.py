"""Whole requests: an odd body, headers that are right in most cases, sometimes another address."""

import copy
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from hypothesis import strategies as st

from tests.fuzz.bodies import MARK, Body, bodies
from tests.webhooks import (
    APP_SECRET,
    CLOUD,
    NEXT_SECRET,
    OTHER_SECRET,
    VENOM,
    VENOM_SECRET,
    body,
    change,
    signature,
    text_message,
)

GATEWAY_SECRET = VENOM_SECRET["X-Webhook-Secret"]
VERIFY_TOKENS = ("c4d8a1f7e2b90365c4d8a1f7e2b90365", "d5e9b2a8f3c01476d5e9b2a8f3c01476")
PATHS = {
    "whatsapp_cloud": CLOUD,
    "venom": VENOM,
    "simulator": "/webhooks/simulator/demo",
    "canary": "/webhooks/canary",
}
#: Of so many inputs one is for this endpoint: most are for the two real channels.
SHARES = {"whatsapp_cloud": 2, "venom": 3, "simulator": 18, "canary": 18, "challenge": 18}
#: Whose app signs with which secret.
SIGNERS = {APP_SECRET: "salon", NEXT_SECRET: "salon", OTHER_SECRET: "barber"}
JSON_TYPES = ("application/json", "application/json; charset=utf-8", "Application/JSON ;x=1")
OTHER_TYPES = ("", "text/plain", "application/x-www-form-urlencoded", "application/json\xe9", MARK)
OTHER_PATHS = (
    "/webhooks/venom/salon",
    f"/webhooks/venom/{MARK}",
    "/webhooks/simulator/nails",
    "/webhooks/simulator/%00%ff%ED%A0%80",
    f"/webhooks/whatsapp_cloud/{MARK}",
    "/webhooks/canary/",
    "/webhooks/%2e%2e/livez",
    f"/{MARK}" * 50,
    "/webhooks/",
)
ODD_HEADERS: tuple[Mapping[str, str], ...] = (
    {},
    {"X-Request-Id": MARK, "User-Agent": MARK, "Referer": f"https://{MARK}/"},
    {"Cookie": f"a={MARK}; \xe9; =", "Authorization": f"Basic {MARK}"},
    {"Accept": "image/png;q=zz,,", "Range": "bytes=9-1", "If-Match": '"', "Date": MARK},
    {"Content-Encoding": "gzip", "Accept-Charset": "\xff", "X-Forwarded-For": f"{MARK}, ::1"},
    {"X-Forwarded-Proto": "gopher", "Forwarded": 'for="[', "X-HTTP-Method-Override": "GET"},
)
#: The message that stands beside whatever else there is in a body, and must not be lost.
NEIGHBOUR_ID = "neighbour-1"
NEIGHBOUR = {"from": "79990000077"}


@dataclass(frozen=True, slots=True, repr=False)
class Delivery:
    """One request. ``authentic``: it proves who sent it and has the form; its body may be odd.

    ``signer``: the account whose app signed. ``neighbour``: a good message stands in the body.
    """

    endpoint: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    authentic: bool
    method: str = "POST"
    query: str = ""
    signer: str = ""
    neighbour: bool = False
    chunked: bool = False
    answer: str | None = field(default=None)

    def __repr__(self) -> str:
        """Show enough to build it again by hand: of a huge body the beginning."""
        where = f"{self.method} {self.path}?{self.query}"
        marks = f"{self.authentic=} {self.signer=} {self.neighbour=} {self.chunked=}"
        return f"<{where} {dict(self.headers)} {marks} {len(self.raw)}: {self.raw[:3_000]!r}>"


def _cloud_neighbour(value: Any) -> Any:
    good = body(change(text_message(NEIGHBOUR_ID, f"Good {MARK}", **NEIGHBOUR)))["entry"]
    if not isinstance(value, dict):
        return {"entry": good}
    entries = value.get("entry")
    return value | {"entry": [*(entries if isinstance(entries, list) else [entries]), *good]}


def _venom_neighbour(value: Any) -> Any:
    good = NEIGHBOUR | {"message": f"Good {MARK}", "messageId": NEIGHBOUR_ID}
    found = value.get("messages", value) if isinstance(value, dict) else value
    others = found if isinstance(found, list) else [found]
    return {"messages": [*copy.deepcopy(others), good]}


_BODIES = {
    "whatsapp_cloud": (bodies("whatsapp_cloud"), bodies("whatsapp_cloud", _cloud_neighbour)),
    "venom": (bodies("venom"), bodies("venom", _venom_neighbour)),
    "simulator": (bodies("simulator"),) * 2,
    "canary": (bodies("canary"),) * 2,
}
#: Nine in ten are right: the others are soon tried, and end at the first check.
_RIGHT = st.integers(0, 9).map(bool)


def _proof(draw: st.DrawFn, endpoint: str, raw: bytes, canary_secret: str) -> tuple[Any, bool, str]:
    """Return headers that prove the sender, whether they do, and the account that they prove."""
    right = draw(_RIGHT)
    if endpoint == "whatsapp_cloud":
        if right:
            secret = draw(st.sampled_from((APP_SECRET, APP_SECRET, NEXT_SECRET, OTHER_SECRET)))
            return {"X-Hub-Signature-256": signature(raw, secret)}, True, SIGNERS[secret]
        good = signature(raw)
        near = (signature(raw, MARK), f"{good},{good}", good[:-1], good[7:], f"{good}\xe9", MARK)
        far = ("", "sha256=", "sha256=\xff\u0130", f"sha256={MARK * 100}", "sha1" + good[6:])
        return {"X-Hub-Signature-256": draw(st.sampled_from(near + far))}, False, ""
    if endpoint == "simulator":
        return {}, True, ""
    secret = GATEWAY_SECRET if endpoint == "venom" else canary_secret
    given = secret if right else draw(st.sampled_from(("", MARK, f"{secret}\xe9", secret[:-1])))
    if endpoint == "venom":
        return _venom_proof(draw, given, raw), right, ""
    return {"X-Webhook-Secret": given}, right, ""


def _venom_proof(draw: st.DrawFn, secret: str, raw: bytes) -> Mapping[str, str]:
    """Return one of the three proofs that a gateway may give."""
    moment = str(time.time_ns() // 1_000_000)
    signed = f"POST:{VENOM}:{moment}:".encode() + raw
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    proofs = (
        {"X-Webhook-Secret": secret},
        {"Authorization": f"bearer {secret}"},
        {"X-Timestamp": moment, "X-Signature": digest},
    )
    return draw(st.sampled_from(proofs))


@st.composite
def posts(draw: st.DrawFn, endpoint: str, canary_secret: str) -> Delivery:
    """Draw what somebody posts to ``endpoint``."""
    has_neighbour = draw(st.booleans())
    sent: Body = draw(_BODIES[endpoint][has_neighbour])
    proof, proved, signer = _proof(draw, endpoint, sent.raw, canary_secret)
    headers = {"Content-Type": draw(st.sampled_from(JSON_TYPES))}
    authentic, path, method, chunked = proved, PATHS[endpoint], "POST", False
    if draw(st.integers(0, 7)) == 0:
        authentic = False
        length = len(sent.raw)
        match draw(st.integers(0, 3)):
            case 0:
                path = draw(st.sampled_from(OTHER_PATHS))
            case 1:
                method = draw(st.sampled_from(("GET", "PUT", "PATCH", "DELETE", "HEAD")))
            case 2:
                headers["Content-Type"] = draw(st.sampled_from(OTHER_TYPES))
            case 3:
                # A container that lost its end is no JSON, whatever its signature.
                short = [f"{length - 1}"] if sent.raw[-1:] in {b"}", b"]"} else []
                odd = (f"{length + 1}", "-1", "x", "9" * 40, "1e3", "4000000", "\u00b2", *short)
                headers["Content-Length"] = draw(st.sampled_from(odd))
    elif draw(st.integers(0, 5)) == 0:
        chunked = True
    extra = draw(st.sampled_from(ODD_HEADERS))
    return Delivery(
        endpoint=endpoint,
        path=path,
        method=method,
        headers={**extra, **headers, **proof},
        raw=sent.raw,
        authentic=authentic,
        signer=signer,
        neighbour=has_neighbour and sent.intact and (signer == "salon" or endpoint == "venom"),
        chunked=chunked,
    )


@st.composite
def challenges(draw: st.DrawFn) -> Delivery:
    """Draw what somebody asks who wants to be our provider."""
    words = (*VERIFY_TOKENS, MARK, "", "\x00", "é\ud800", "subscribe", "a&b=c", "1" * 1_500)
    token = draw(st.sampled_from((*VERIFY_TOKENS * 4, *words)))
    mode = draw(st.sampled_from(("subscribe",) * 6 + ("unsubscribe", "", MARK)))
    challenge = draw(st.sampled_from((*words, "1158201444")) | st.text(max_size=20))
    pairs = [("hub.mode", mode), ("hub.verify_token", token), ("hub.challenge", challenge)]
    query = urlencode(pairs, errors="replace")
    right = mode == "subscribe" and token in VERIFY_TOKENS
    answer: str | None = challenge.encode("utf-8", "replace").decode() if right else None
    if draw(st.integers(0, 4)) == 0:
        odd = ("&", "%", "%ff%00=%ED%A0%80", "hub.mode", "=;&&;=", "hub.challenge=%", f"{MARK}=1")
        query, answer = draw(st.sampled_from(odd)), None
        right = False
    return Delivery(
        "challenge", CLOUD, {}, b"", authentic=right, method="GET", query=query, answer=answer
    )


def deliveries(endpoint: str, canary_secret: str) -> st.SearchStrategy[Delivery]:
    """Return what strangers and providers send to ``endpoint``, one of SHARES."""
    return challenges() if endpoint == "challenge" else posts(endpoint, canary_secret)
