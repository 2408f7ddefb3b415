"""WhatsApp Cloud API (Meta): webhooks in, text messages out.

``parse.py`` walks a webhook's body, ``events.py`` turns one item of it into one event,
``kinds.py`` says what a customer's message says, ``fields.py`` reads fields that may hold
anything. ``send.py`` is the channel, ``errors.py`` its table of error codes.
"""

from channels.whatsapp_cloud.parse import ITEMS_MAX, parse
from channels.whatsapp_cloud.send import WhatsAppCloud

__all__ = ["ITEMS_MAX", "WhatsAppCloud", "parse"]
