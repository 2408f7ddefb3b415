"""Addresses that an operator writes: what may be shown of one, and where it leads.

``shown_url`` is the only way in which an address reaches a message, a log line or a report.
"""

import ipaddress
import re
import socket
from urllib.parse import unquote

#: Strict, because a password with an unescaped "/", "?", "#" or "@" moves every boundary: what does
#: not match as a whole is neither used nor shown.
_PARTS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,15})://"
    r"(?:(?P<login>[^\s/?#@\[\]]*)@)?"
    r"(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)?"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^\s?#@]*)?"
    r"(?:\?(?P<query>[^\s#@]*))?",
    re.IGNORECASE,
)
# A path of Python's has one slash where the address had two.
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,15}:/+", re.IGNORECASE)
_START = re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://", re.IGNORECASE)
_SPACE = re.compile(r"\s")
_AFTER = "]'\"`<>.,;:)}"
#: So far after an address in a text the end of its password is looked for, in characters.
_NEAR = 200
_PORT_MAX = 65_535

#: Where clouds give their machines' credentials to whoever asks from the inside: AWS, Alibaba,
#: Oracle, Azure; those at 169.254.0.0/16 and fe80::/10 are link-local.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
_METADATA_NAMES = re.compile(
    r"metadata|metadata\.goog|metadata\.google\.internal|instance-data(\.ec2\.internal)?"
    # Public name servers answer such names with the address in them.
    r"|(.*[.-])?169[.-]254[.-][0-9]{1,3}[.-][0-9]{1,3}([.-].*)?"
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def url_parts(url: str) -> dict[str, str] | None:
    """Return scheme, login, host, port, path and query, each "" where absent.

    None for what is no address, and for one that two programs could read in two ways.
    """
    found = _PARTS.fullmatch(url)
    if found is None or int(found["port"] or 1) not in range(1, _PORT_MAX + 1):
        return None
    return {name: value or "" for name, value in found.groupdict().items()}


def shown_url(url: str) -> str:
    """Return what may be shown of an address: scheme, host, port, and the number of a database.

    Login, path, query and whatever cannot be told apart are ``***``; of a socket the path stays.
    """
    parts = url_parts(url)
    if parts is None:
        scheme = _SCHEME.match(url)
        return f"{scheme.group() if scheme else ''}***"
    login = "***@" if parts["login"] else ""
    port = f":{parts['port']}" if parts["port"] else ""
    path, query = parts["path"], parts["query"]
    if parts["scheme"].lower() != "unix" and not re.fullmatch(r"/?|/[0-9]{1,5}", path):
        path = "/***"
    if query:
        query = f"?{query}" if re.fullmatch(r"db=[0-9]{1,5}", query) else "?***"
    return f"{parts['scheme']}://{login}{parts['host']}{port}{path}{query}"


def hide_urls(text: str) -> str:
    """Return ``text`` with each address in it as ``shown_url`` shows it."""
    shown, done = "", 0
    while found := _START.search(text, done):
        end = _end_of_word(text, found.end())
        # A password may hold spaces and quotes: on the same line the last "@" near by ends it.
        at = text[end : end + _NEAR].partition("\n")[0].rfind("@")
        end = end if at < 0 else _end_of_word(text, end + at)
        url = text[found.start() : end].rstrip(_AFTER)
        shown += text[done : found.start()] + shown_url(url)
        done = found.start() + len(url)
    return shown + text[done:]


def _end_of_word(text: str, start: int) -> int:
    space = _SPACE.search(text, start)
    return space.start() if space else len(text)


def is_url(text: str) -> bool:
    """Return whether ``text`` begins like an address, whole or not."""
    return _SCHEME.match(text) is not None


def is_http(text: str) -> bool:
    """Return whether ``text`` is an http(s) address with a host, without login and query."""
    parts = url_parts(text)
    if parts is None or parts["scheme"] not in {"http", "https"} or not parts["host"]:
        return False
    return "@" not in text and "?" not in text


def host_of(url: str) -> str:
    """Return the host in lower case without brackets, "" if there is none."""
    parts = url_parts(url)
    return parts["host"].lower().strip("[]").rstrip(".") if parts else ""


def password_of(url: str) -> str:
    """Return the password as the server gets it, "" if there is none."""
    parts = url_parts(url)
    return unquote(parts["login"].partition(":")[2]) if parts else ""


def is_local(host: str) -> bool:
    """Return whether ``host`` is this machine, so that nothing crosses a network."""
    address = _address_of(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback


def is_link_local(host: str) -> bool:
    """Return whether ``host`` is one that no provider has: link-local, metadata, nobody's or all's.

    A name is not resolved: of names only those that are known for it count.
    """
    address = _address_of(host)
    if address is None:
        return _METADATA_NAMES.fullmatch(host) is not None
    unusual = address.is_unspecified or address.is_multicast or address == _BROADCAST
    return address.is_link_local or unusual or address in _METADATA


_BROADCAST = ipaddress.ip_address("255.255.255.255")


def _address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that the system reads in ``host``, also 2852039166 or 0xa9fea9fe."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
