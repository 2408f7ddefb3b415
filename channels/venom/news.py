"""What a gateway of Venom's kin reports of its session: is the phone logged in.

WPPConnect-server posts ``status-find`` with a state of ``StatusFind`` (wppconnect,
src/api/model/enum/status-find.ts), ``qrcode`` and ``phoneCode`` while it waits for a login
(wppconnect-server, src/util/createSessionUtil.ts), ``closesession`` and ``logoutsession``
(src/controller/sessionController.ts). Venom has states of its own (src/controllers/initializer.ts),
and both the states of WhatsApp Web's socket (src/api/model/enum/socket-state.ts).
"""

from batching.model import Event, Gravity, Notice
from channels.explained import FAILURES
from channels.inbound import Record, at, text
from channels.news import News, by_name, noticed, plain_name

_LOG_IN = "open the gateway's page and scan its code with the phone"
_LOGGED_OUT = News(Gravity.LOGGED_OUT, "the phone is logged out at the gateway", _LOG_IN)
_CLOSED = News(
    Gravity.OFFLINE,
    "the gateway has closed its session with WhatsApp",
    "start the session again at the gateway, and see that it has memory and a browser",
)
_UNREACHED = News(
    Gravity.OFFLINE,
    "the gateway does not reach the phone or WhatsApp",
    "see that the phone is charged and online, and that no other program uses its session",
)
_BLOCKED = News(
    Gravity.DEAD,
    "WhatsApp has blocked the number",
    "open WhatsApp on the phone and appeal there",
)
_WELL = News(Gravity.WELL, "the phone is logged in")

#: What each state means; any other is a step in between.
STATES = {
    _LOGGED_OUT: (
        *("notLogged", "qrReadFail", "qrReadError", "deleteToken", "desconnected"),
        *("desconnectedMobile", "disconnectedMobile", "UNPAIRED", "UNPAIRED_IDLE"),
    ),
    _CLOSED: (
        *("autocloseCalled", "browserClose", "serverClose", "noOpenBrowser", "erroPageWhatsapp"),
        *("serverWssNotConnected", "CLOSED", "DEPRECATED_VERSION"),
    ),
    _UNREACHED: (
        *("phoneNotConnected", "deviceNotConnected", "DISCONNECTED", "TIMEOUT", "CONFLICT"),
        *("WITHOUT INTERNET", "PROXYBLOCK"),
    ),
    _BLOCKED: ("TOS_BLOCK", "SMB_TOS_BLOCK"),
    _WELL: (
        *("isLogged", "inChat", "qrReadSuccess", "chatsAvailable", "successChat", "CONNECTED"),
    ),
}
#: What an event means that has no state.
EVENTS = {
    _LOGGED_OUT: ("qrcode", "phoneCode", "logoutsession"),
    _CLOSED: ("closesession",),
    _WELL: ("session-logged",),
}
_STATES, _EVENTS = by_name("venom_", STATES), by_name("venom_", EVENTS)
#: What their codes mean. A state with the name of a failed call has words in its alert alone.
CODES = {
    code: news.explained
    for code, news in (*_STATES.values(), *_EVENTS.values())
    if code.removeprefix("venom_") not in FAILURES
}


def session(account_id: str, item: Record) -> Event:
    """Return what an event says of the session."""
    state = plain_name(text(item, "status") or text(item, "state"))
    event = plain_name(text(item, "event"))
    # session-logged may come with status false.
    happened = _EVENTS.get(event) if at(item, "status") is not False else None
    found = _STATES.get(state) or happened
    return noticed(account_id, *found) if found else Notice(account_id, "channel_state")
