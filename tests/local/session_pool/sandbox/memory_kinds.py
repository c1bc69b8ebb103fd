"""Memory of every kind that Linux keeps: programs that take an amount of one each.

Outside of a session, and a little of them also in one, they have to succeed, or they show nothing.
"""

import sys

_BEGIN = """
import ctypes, mmap, os, resource, select, socket, threading, time
MIB = 1 << 20
SIZE = int(200 * share) * MIB
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
def map_pages(size, flags, descriptor=-1, access=3):
    address = libc.mmap(None, size, access, flags, descriptor, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return address
def forget_after_writing(address, size):
    for part in range(0, size, 4 * MIB):
        ctypes.memset(address + part, 1, 4 * MIB)
        libc.madvise(address + part, 4 * MIB, 4)  # MADV_DONTNEED: no process has them any more
def fill(*ends):
    sent = 0
    for end in ends:
        end.setblocking(False)
        try:
            while True:
                sent += end.send(bytes(60_000))
        except OSError:
            pass
    return sent
def in_children(work, count):
    ends = []
    for _ in range(count):
        end, done = os.pipe()
        if os.fork() == 0:
            libc.prctl(1, 9)  # PR_SET_PDEATHSIG
            try:
                kept = work()
                os.write(done, b"x")
                time.sleep(60)
            finally:
                os._exit(1)
        os.close(done)
        ends.append(end)
    if any(os.read(end, 1) != b"x" for end in ends):
        raise OSError("a child ended")
    if os.waitpid(-1, os.WNOHANG) != (0, 0):
        raise OSError("a child ended when it had all that it wanted")
"""
_END = """
if share == 1:
    time.sleep(20)
"""

KINDS = {
    "pages of its own": ("in_children(lambda: bytes(1) * (SIZE // 4), 4)"),
    "shared pages that it forgot": (
        "forget_after_writing(map_pages(SIZE, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS), SIZE)"
    ),
    "pages of /dev/zero": (
        "zero = os.open('/dev/zero', os.O_RDWR)\n"
        "forget_after_writing(map_pages(SIZE, mmap.MAP_SHARED, zero), SIZE)"
    ),
    "files in memory without a name": (
        "file = os.memfd_create('x')\nfor _ in range(SIZE // MIB): os.write(file, bytes(MIB))"
    ),
    "files in a folder of its own": (
        "folders = ['/mnt/data', '/tmp'] if os.path.isdir('/mnt/data') else ['/dev/shm'] * 2\n"
        "kept = [open(f'{folder}/{n}-of-a-test', 'wb') for n, folder in enumerate(folders)]\n"
        "for each in kept: os.unlink(each.name)\n"
        "for each in kept:\n    for _ in range(SIZE // MIB // 2): each.write(bytes(MIB))"
    ),
    "System V's shared memory": (
        "number = libc.shmget(0, SIZE, 0o1600)\n"
        "if number < 0: raise OSError(ctypes.get_errno())\n"
        "libc.shmat.restype = ctypes.c_void_p\n"
        "address = libc.shmat(number, None, 0); libc.shmctl(number, 0, None)\n"
        "forget_after_writing(address, SIZE)"
    ),
    "what waits in Unix sockets": (
        "def work():\n"
        "    kept, sent = [], 0\n"
        "    while sent < SIZE // 10:\n"
        "        kept.append(socket.socketpair()); sent += fill(*kept[-1])\n"
        "    return kept\n"
        "in_children(work, 10)"
    ),
    "what waits in Unix sockets under way": (
        "kept, sent = [], 0\n"
        "outer = socket.socketpair()\n"
        "while sent < SIZE:\n"
        "    pairs = [socket.socketpair() for _ in range(30)]\n"
        "    sent += sum(fill(*pair) for pair in pairs)\n"
        "    socket.send_fds(outer[0], [b'x'], [e.fileno() for pair in pairs for e in pair])"
    ),
    "what waits in UDP sockets": (
        "def work():\n"
        "    kept, sent = [], 0\n"
        "    while sent < SIZE // 20:\n"
        "        one = socket.socket(type=socket.SOCK_DGRAM); one.bind(('127.0.0.1', 0))\n"
        "        one.connect(one.getsockname()); kept.append(one)\n"
        "        for _ in range(8): sent += one.send(bytes(25_000))\n"
        "    return kept\n"
        "in_children(work, 20)"
    ),
    "what waits in TCP sockets": (
        "server, kept, sent = socket.create_server(('127.0.0.1', 0)), [], 0\n"
        "while sent < SIZE:\n"
        "    one = socket.create_connection(server.getsockname()); other, _ = server.accept()\n"
        "    kept += [one, other]; sent += fill(one, other)"
    ),
    "page tables": (
        # Pages that were only read are all the same one; the tables are not.
        "def work():\n"
        "    size = SIZE // 14 * 512\n"
        "    address = map_pages(size, 0x4022, access=1)\n"
        "    for offset in range(0, size, 2 * MIB): ctypes.string_at(address + offset, 1)\n"
        "in_children(work, 14)"
    ),
    "pages of a process whose first thread has ended": (
        "ends = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    def grow():\n"
        "        time.sleep(0.1); kept = bytes(1) * (SIZE * 3 // 4)\n"
        "        os.write(ends[1], b'x'); time.sleep(60)\n"
        "    threading.Thread(target=grow).start()\n"
        "    libc.syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)\n"
        "os.close(ends[1])\n"
        "if os.read(ends[0], 1) != b'x': raise OSError('it ended')"
    ),
    "places in epoll": (
        "many = int(200 * share ** 0.5)\n"
        "def work():\n"
        "    polls, others = [select.epoll() for _ in range(many)], []\n"
        "    for _ in range(many):\n"
        "        others.append(os.eventfd(0))\n"
        "        for poll in polls: poll.register(others[-1])\n"
        "    return polls\n"
        "in_children(work, 30)"
    ),
    "locks on files": (
        "import fcntl, tempfile\n"
        "kept = [tempfile.TemporaryFile() for _ in range(30)]\n"
        "for file in kept:\n"
        "    for n in range(int(400 * share)): fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * n)"
    ),
}
# What a session cannot have at all, however little.
REFUSED = (
    "shared pages that it forgot",
    "pages of /dev/zero",
    "files in memory without a name",
    "System V's shared memory",
)


def program(kind: str, share: float) -> str:
    """Take that share of 200 MiB, or of 12,000 locks, and keep it until somebody has looked."""
    return f"share = {share}\n{_BEGIN}\n{KINDS[kind]}\n{_END}"


if __name__ == "__main__":
    exec(program(sys.argv[1], float(sys.argv[2])))  # noqa: S102 - a program of the table above, run as it stands; the name is one that a test passes
