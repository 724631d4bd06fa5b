"""Where a request comes from: the loopback address or not, and on behalf of which web page. Pure.

Who reaches llmux by the loopback address is somebody on this machine, but a browser on this machine does what pages of
anybody ask it to. A page cannot keep a browser from naming it (`Origin`, `Sec-Fetch-Site`; the Fetch standard), nor, where it
has its own host's name lead here (DNS rebinding), from sending that name as `Host`.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from msgspec import Struct

ANY = "*"
_FORWARDED = (
    *("Forwarded", "Via", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"),
    *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Envoy-External-Address"),
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ALLOWED_HEADERS = "Authorization, Content-Type, X-Api-Key"
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_REMEMBERED = "600"
_PRIVATE = "Access-Control-Request-Private-Network"
EXPOSED = (
    "Retry-After, WWW-Authenticate, x-request-id, x-llmux-queue-ms, x-llmux-wake, x-llmux-replica, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
"""The headers of an answer that a page of another origin may read."""


class Peer(Struct, frozen=True):
    """Who is at the other end of the connection."""

    address: str | None = None
    """Its IP address; None over a Unix socket, or where it has gone."""
    uid: int | None = None
    """Its user, over a Unix socket."""

    @property
    def is_loopback(self) -> bool:
        """Say whether it came by the loopback address."""
        return self.address is not None and is_loopback(self.address)

    def __str__(self) -> str:
        return f"user {self.uid}" if self.uid is not None else self.address or "nobody"


def is_loopback(address: str) -> bool:
    """Say whether an IP address is the machine's own loopback, IPv4 in IPv6 included."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def proxied(headers: Mapping[str, str]) -> str:
    """Return why whoever is connected asks for somebody else, who may be anybody; an empty text where nothing says so."""
    by = next((name for name in _FORWARDED if name in headers), None)
    return f"it came through a proxy ({by})" if by else ""


def foreign(headers: Mapping[str, str], scheme: str) -> str:
    """Return why a request by the loopback address is not from this machine's own user; an empty text where it is.

    Origins that are configured are for /v1: a page of theirs needs a key for the rest, as everybody elsewhere does.
    """
    if why := proxied(headers):
        return why
    host = headers.get("Host", "localhost")
    if not _is_local(host):
        return f"its Host is {host!r}, and not this machine's own name"
    origin = headers.get("Origin")
    if origin is not None:
        return "" if _same(origin, scheme, host) else f"a page of {origin!r} asked for it"
    return _of_other_site(headers)


def of_other_page(headers: Mapping[str, str], origins: tuple[str, ...]) -> str:
    """Return why a request is by a page whose origin is not configured; an empty text where no browser says that it is.

    Such a page cannot read the answer, but have a model woken and kept busy: what a form can send, no preflight precedes.
    """
    why = _of_other_site(headers)
    return "" if why and "Access-Control-Allow-Origin" in cors_headers(headers, origins) else why


def _of_other_site(headers: Mapping[str, str]) -> str:
    site = headers.get("Sec-Fetch-Site", "none")
    if site in {"none", "same-origin"}:
        return ""
    return f"a page of another origin asked for it (Sec-Fetch-Site: {site})"


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def _same(origin: str, scheme: str, host: str) -> bool:
    try:
        return _authority(origin) == _authority(f"{scheme}://{host}")
    except ValueError:
        return False


def _authority(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Say whether a browser asks whether a page may ask."""
    return method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers


def preflight_headers(headers: Mapping[str, str], origins: tuple[str, ...]) -> dict[str, str] | None:
    """Return what allows a page to ask; None where it may not."""
    allowed = cors_headers(headers, origins)
    if "Access-Control-Allow-Origin" not in allowed:
        return None
    wanted = headers.get("Access-Control-Request-Headers", _ALLOWED_HEADERS)
    # Asked of a host that is nearer to the browser than the page (the draft Private Network Access).
    nearer = {"Access-Control-Allow-Private-Network": "true"} if _PRIVATE in headers else {}
    return nearer | {
        "Access-Control-Allow-Origin": allowed["Access-Control-Allow-Origin"],
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": wanted,
        "Access-Control-Max-Age": _REMEMBERED,
        "Vary": "Origin",
    }


def cors_headers(headers: Mapping[str, str], origins: tuple[str, ...]) -> dict[str, str]:
    """Return what lets a page read an answer, where its origin is configured."""
    if not origins:
        return {}
    origin = headers.get("Origin")
    if ANY in origins:
        return {"Access-Control-Allow-Origin": ANY, "Access-Control-Expose-Headers": EXPOSED}
    if origin not in origins:
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": EXPOSED,
        "Vary": "Origin",
    }
