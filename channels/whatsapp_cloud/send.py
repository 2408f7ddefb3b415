"""Send text through the Cloud API.

The API knows no idempotency key, so a send is never blindly repeated. The error's code decides,
not the HTTP status: 131056 comes as 400 and as 429, 3 comes as 500.
``channels.whatsapp_cloud.codes`` says what each means.
"""

from http import HTTPStatus
from typing import Annotated

from batching.errors import AdminError, AmbiguousError, TransientError
from batching.model import Outbound
from channels.inbound import Record, at, identifier, items, whole_number
from channels.outbound import HttpChannel, refused
from channels.provider import ChannelAccount, Outside
from channels.whatsapp_cloud.codes import BY_NAME, error_name
from channels.whatsapp_cloud.inbound import is_business_scoped
from config import Digits, EnvName, EnvNames, Table, Url, Whole
from httpjson import Reply

#: Begins the codes of its errors.
PREFIX = "cloud"


class Config(Table):
    """The keys of an account: a number of Meta's WhatsApp Cloud API.

    ``business_account_id``: of the WhatsApp Business account that the number belongs to; needed
    only where several accounts share an app. ``api_url`` ends with the API's version.
    ``timeout_ms`` bounds a whole call.
    """

    phone_number_id: Digits
    business_account_id: Digits | None = None
    access_token_env: EnvName
    app_secret_env: EnvNames
    verify_token_env: EnvName
    api_url: Url = "https://graph.facebook.com/v25.0"
    timeout_ms: Annotated[int, Whole(1_000, 60_000)] = 15_000


def build(account: ChannelAccount, outside: Outside) -> HttpChannel:
    """Return the channel of one business number."""
    config: Config = account.config
    number_url = f"{config.api_url.rstrip('/')}/{config.phone_number_id}"
    return HttpChannel(
        http=outside.http,
        url=f"{number_url}/messages",
        token=account.secrets[config.access_token_env],
        timeout_ms=config.timeout_ms,
        prefix=PREFIX,
        request=_request,
        provider_id=wamid,
        probe_url=f"{number_url}?fields=id",
        probed=_raise_refusal,
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


def _raise_refusal(reply: Reply) -> None:
    """Raise what a refusal means; do nothing where the answer is none."""
    code = whole_number(reply.body, "error", "code")
    if code is not None:
        name = error_name(code, whole_number(reply.body, "error", "error_subcode") or 0)
        raise refused(reply, name, _error(reply, name))
    if not reply.is_success:
        raise refused(reply, f"cloud_http_{reply.status}")


def wamid(reply: Reply) -> str:
    """Return the id of the message that was sent. Raise what the refusal means."""
    _raise_refusal(reply)
    found = next((identifier(sent, "id") for sent in items(reply.body, "messages")), "")
    if not found:
        raise AmbiguousError("cloud_no_id", "the Cloud API took a message and gave it no id")
    return found


def _error(reply: Reply, name: str) -> type[AdminError] | None:
    """Return what a code means, None where the HTTP status says it.

    A code that we do not know may pass where Meta says so and the status says that nothing was
    taken ("Handling Errors": ``is_transient``).
    """
    if meaning := BY_NAME.get(name):
        return meaning.error
    is_refusal = HTTPStatus.BAD_REQUEST <= reply.status < HTTPStatus.INTERNAL_SERVER_ERROR
    if is_refusal and at(reply.body, "error", "is_transient") is True:
        return TransientError
    return None
