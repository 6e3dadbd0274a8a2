"""Addresses a process may connect to; every other connection fails, whoever asks for it and however it got there.

The check is an audit hook of the interpreter: it sees the address that a socket is about to use, after
names were resolved. So there is nothing to win by a name that resolves differently the second time, by
a redirect, by an odd spelling of an address, or inside a library. Hooks cannot be taken back, therefore
it is installed in processes that do nothing but send.
"""

import sys
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

# Where clouds keep credentials; several lie outside the link-local range, one (Azure) is a public address.
_METADATA = {
    ip_address(text)
    for text in (
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192",
        "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
    )
}  # fmt: skip
# IANA's special-purpose registries have these, Python's tables only in part.
_ALSO_PRIVATE = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10")))
_NAT64 = ip_network("64:ff9b::/96")

_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
# Another program would not be watched.
_STARTS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"})


class RefusedConnection(PermissionError):
    """The address is not one to connect to. An `OSError`, so that libraries take it for a failed connection."""


def refusal(text: str, *, allow_private: bool) -> str:
    """Why an address is not connected to, or nothing. `allow_private` admits private and loopback addresses only.

    Link-local, metadata, multicast, reserved and unspecified addresses are never a place to notify.
    """
    try:
        address = _inner(ip_address(text))
    except ValueError:
        return "not an address"
    if address in _METADATA:
        return "a cloud's metadata service"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified:
        return "unspecified"
    if address.is_loopback:
        return "" if allow_private else "loopback"
    if address.is_reserved:
        return "reserved"
    private = not address.is_global or any(address in network for network in _ALSO_PRIVATE)
    return "private" if private and not allow_private else ""


def install(*, allow_private: bool) -> list[str]:
    """From now on this process keeps to the addresses it may have. Returns where refusals are noted, one line each."""
    refused: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in _CONNECTS:
            address = arguments[1]
            if address is None:  # The socket is connected, and that was looked at.
                return
            host = str(address[0]) if isinstance(address, tuple) and address else repr(address)
            reason = refusal(host, allow_private=allow_private)
            if reason:
                hint = "" if refusal(host, allow_private=True) else " Set allow_private: true if that is meant."
                refused.append(f"{host} is refused: it is {reason}.{hint}")
                raise RefusedConnection(refused[-1])
        elif event in _STARTS:
            refused.append("Starting another program is refused.")
            raise RefusedConnection(refused[-1])

    sys.addaudithook(watch)
    return refused


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, where it carries one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
