"""Which addresses a download may connect to.

The name of a public host may lead into the network that the app is in, and to another address each
time it is asked for. So the addresses are looked up once for each connection, each of them is
checked, and they are what is connected to.
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from agent.open_data.errors import AddressNotPublicError

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Azure's own services in every virtual network, behind an address that looks public:
# https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
_AZURE_PLATFORM: Final = ipaddress.IPv4Address("168.63.129.16")
# All that is routed in the internet. What is outside holds addresses of version 4 in other forms,
# of which any may lead inside: ::ffff:0:0/96, ::/96, 64:ff9b::/96.
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, that anybody could reach."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and address != _AZURE_PLATFORM


class CheckedResolver(AbstractResolver):
    """Looks names up; a name with any address that is not allowed leads nowhere.

    Args:
        resolver: asks the network.
        is_allowed: tells whether an address may be connected to.
    """

    def __init__(self, resolver: AbstractResolver, is_allowed: Callable[[Address], bool]) -> None:
        self._resolver = resolver
        self._is_allowed = is_allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name, as the connector wants them.

        Raises:
            AddressNotPublicError: one of them is not allowed.
            OSError: there are none.
        """
        found = await self._resolver.resolve(host, port, family)
        if not found:
            raise OSError(f"{host} has no address")
        # The text of an address may have a zone (fe80::1%eth0), which is part of what is checked.
        if not all(self._is_allowed(ipaddress.ip_address(each["host"])) for each in found):
            raise AddressNotPublicError(f"{host} has an address that is not public")
        return found

    async def close(self) -> None:
        """Close the resolver below."""
        await self._resolver.close()
