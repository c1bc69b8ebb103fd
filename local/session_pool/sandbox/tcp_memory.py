"""A program: `tcp_memory.py PID` prints how many TCP sockets a session has, and what they hold.

/proc tells these bytes only for all of the machine. The program enters the network namespace of
PID, as only a process with one thread may; it is the namespace's owner or root.

https://man7.org/linux/man-pages/man7/sock_diag.7.html
"""

import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator

_NS_GET_USERNS = 0xB701
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _DUMP = 4, 20, 0x301
_ERROR, _DONE = 2, 3
# The states whose sockets are no more than a few numbers: TIME_WAIT and NEW_SYN_RECV.
_STATES = 0x1FFF & ~(1 << 6 | 1 << 12)
_SKMEMINFO = 7
_HEADER, _REQUEST, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=4BI48x"), "=HH"
_MESSAGE_BYTES = 72
# Of the numbers in an answer: received, queued for sending, options, not taken yet.
_KINDS = (0, 5, 6, 7)


def main() -> None:
    """Enter the namespace; print both numbers."""
    network = os.open(f"/proc/{int(sys.argv[1])}/ns/net", os.O_RDONLY)
    os.setns(fcntl.ioctl(network, _NS_GET_USERNS), os.CLONE_NEWUSER)
    os.setns(network, os.CLONE_NEWNET)
    found = [each for family in (socket.AF_INET, socket.AF_INET6) for each in _sockets(family)]
    print(len(found), sum(found))


def _sockets(family: int) -> Iterator[int]:
    """Yield what each socket holds."""
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (_SKMEMINFO - 1), 0, _STATES)
    size = _HEADER.size + len(request)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as diagnosis:
        diagnosis.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _DUMP, 0, 0) + request)
        while True:
            answers = diagnosis.recv(1 << 16)
            while answers:
                size, kind, _, _, _ = _HEADER.unpack_from(answers)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError("the kernel lists no sockets")
                yield _held(answers[_HEADER.size + _MESSAGE_BYTES : size])
                answers = answers[(size + 3) & ~3 :]


def _held(attributes: bytes) -> int:
    while attributes:
        size, kind = struct.unpack_from(_ATTRIBUTE, attributes)
        if kind == _SKMEMINFO:
            numbers = struct.unpack_from("=8I", attributes, 4)
            return sum(numbers[each] for each in _KINDS)
        attributes = attributes[(size + 3) & ~3 :]
    raise OSError("the kernel does not tell what a socket holds")


if __name__ == "__main__":
    main()
