"""Send text through the Cloud API, and what each of its refusals means.

The API knows no idempotency key, so a send is never blindly repeated. The error's code decides,
not the HTTP status: 131056 comes as 400 and as 429, 3 comes as 500.
"""

from typing import Annotated

from batching.errors import (
    AdminError,
    AmbiguousError,
    ChannelStoppedError,
    PermanentError,
    TransientError,
)
from batching.model import Outbound
from channels.inbound import Record, identifier, items, whole_number
from channels.outbound import HttpChannel, refused
from channels.provider import ChannelAccount, Outside
from channels.whatsapp_cloud.inbound import error_name, is_business_scoped
from config import Digits, EnvName, EnvNames, Table, Url, Whole
from httpjson import Reply

_CODES: dict[type[AdminError], tuple[int, ...]] = {
    TransientError: (
        *(1, 2, 131016, 131057, 133016),  # the service is down or in maintenance
        *(4, 80007, 130429),  # the app, the business or the number sends too fast
        131056,  # this customer is written to too fast
    ),
    AmbiguousError: (131000,),  # "something went wrong": it may have gone out
    ChannelStoppedError: (
        *(0, 3, 10, 190, 131005),  # the token is no longer good, or not for this
        *range(200, 300),  # a permission is missing
        *(33, 131037, 131045, 133010),  # the number is gone, unnamed or not registered
        *(368, 131031, 131042, 131048),  # locked, not paid for, or taken for spam
    ),
    PermanentError: (
        *(131026, 131049, 131050, 130472, 130497),  # this customer cannot have it
        131047,  # the customer wrote more than 24 hours ago
        *(100, 131008, 131009, 131021, 131030),  # what we sent is wrong
        *(131051, 131052, 131053, 131062, 131063),  # it is of a kind that is not taken
        *range(132_000, 133_000),  # a template's fault
    ),
}
_BY_CODE = {code: error for error, codes in _CODES.items() for code in codes}


class Config(Table):
    """The keys of an account: a number of Meta's WhatsApp Cloud API.

    ``api_url`` ends with the API's version. ``timeout_ms`` bounds a whole call.
    """

    phone_number_id: Digits
    access_token_env: EnvName
    app_secret_env: EnvNames
    verify_token_env: EnvName
    api_url: Url = "https://graph.facebook.com/v24.0"
    timeout_ms: Annotated[int, Whole(1_000, 60_000)] = 15_000


def build(account: ChannelAccount, outside: Outside) -> HttpChannel:
    """Return the channel of one business number."""
    config: Config = account.config
    return HttpChannel(
        http=outside.http,
        url=f"{config.api_url.rstrip('/')}/{config.phone_number_id}/messages",
        token=account.secrets[config.access_token_env],
        timeout_ms=config.timeout_ms,
        prefix="cloud",
        request=_request,
        provider_id=wamid,
    )


def _request(outbound: Outbound) -> Record:
    to = "recipient" if is_business_scoped(outbound.customer) else "to"
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        to: outbound.customer,
        "type": "text",
        "text": {"body": outbound.text, "preview_url": False},
        "biz_opaque_callback_data": outbound.tag,
    }


def wamid(reply: Reply) -> str:
    """Return the id of the message that was sent. Raise what the refusal means."""
    code = whole_number(reply.body, "error", "code")
    if code is not None:
        raise refused(reply, error_name(code), _BY_CODE.get(code))
    if not reply.is_success:
        raise refused(reply, f"cloud_http_{reply.status}")
    found = next((identifier(sent, "id") for sent in items(reply.body, "messages")), "")
    if not found:
        raise AmbiguousError("cloud_no_id", "the Cloud API took a message and gave it no id")
    return found
