"""Addresses: which hosts files may be fetched from, and by which of their addresses."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import anyio

from ._config import Downloads
from ._errors import ConnectFailed, DownloadError
from ._exchange import Place

IPAddress = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
# Not for the public, though older Pythons do not know: protocols' own, and 6to4 relays.
_APART = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"), IPv6Network("3fff::/20"))


class Addresses:
    """Refuses addresses that only this machine or its network can reach.

    Args:
        home: Where the API is: its host has been trusted with the key, if not over plain http.
        looks_up: Whether names are looked up here, or left to somebody else's transport.
        pins: Whether the address that was checked is also the one to connect to; a proxy
            finds its own.
    """

    def __init__(self, home: Place, downloads: Downloads, *, looks_up: bool, pins: bool) -> None:
        self._home = home
        self._http = downloads.http
        self._private = downloads.private
        self._looks_up = looks_up
        self._pins = pins

    async def check(self, place: Place, sender: Place | None) -> list[str]:
        """The addresses to connect to, in this order; none leaves the choice to the transport.

        Args:
            sender: Where a redirect came from; None for an address the API gave.
        """
        # A file host must not lead to the gateway on this machine, which only the API may name.
        if self._is_home(place) and (sender is None or self._is_home(sender)):
            return []
        if place.scheme != "https" and not (self._http and place.scheme == "http"):
            raise DownloadError(
                f"{place} is not https",
                advice="If the network is to be trusted: Kling(downloads=Downloads(http=True)).",
            )
        if self._private:
            return []
        if (literal := _literal(place.host)) is not None:
            self._refuse_private(place, [literal])
            return []
        if not self._looks_up:
            return []
        found = await self._look_up(place)
        self._refuse_private(place, found)
        return list(map(str, found)) if self._pins else []

    def _is_home(self, place: Place) -> bool:
        return place.host == self._home.host and place.scheme in (self._home.scheme, "https")

    async def _look_up(self, place: Place) -> list[IPAddress]:
        try:
            found = await anyio.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except OSError as error:
            if not self._pins:  # behind a proxy there may be no names at all
                return []
            raise ConnectFailed(f"cannot find {place.host}: {error}") from error
        return [ip_address(address[0]) for *_, address in found]

    def _refuse_private(self, place: Place, addresses: list[IPAddress]) -> None:
        for address in addresses:
            if not _is_public(address):
                raise DownloadError(
                    f"{place} leads to {address}, which is no address of the public internet",
                    advice="If it is meant to: Kling(downloads=Downloads(private=True)).",
                )


def _literal(host: str) -> IPAddress | None:
    """The address that a host is spelled as: also 2130706433, 0x7f.1 and [::ffff:7f00:1]."""
    host = host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv6Address):
        if (within := _within(address)) is not None:
            return _is_public(within)
        if address.is_site_local:
            return False
    if any(address in network for network in _APART):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _within(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
