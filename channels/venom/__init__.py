"""Venom and its kin: WPPConnect-server, and small gateways around such a library."""

from channels.venom.parse import parse
from channels.venom.send import VenomGateway

__all__ = ["VenomGateway", "parse"]
