"""The attacks: Python that sets `won` to whether it got what it must not get.

Each runs twice, in a session and outside of any, with the same `target`. Outside it has to win, or
the attempt shows nothing; where this machine lets nobody win, the control says so and the attack in
the session still has to lose. None of them does harm when it wins.
"""

from dataclasses import dataclass

_SYSCALL = """
import ctypes, errno, platform
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments))
    return result, ctypes.get_errno()
def allowed(number, *arguments):
    result, code = call(number, *arguments)
    return result >= 0 or code not in (errno.EPERM, errno.ENOSYS, errno.EACCES)
"""
_OPENS = """
def opens(path, mode='r'):
    try:
        open(path, mode).close()
    except OSError:
        return False
    return True
"""


@dataclass(frozen=True)
class Attack:
    """One attempt.

    Attributes:
        name: what it is after.
        code: sets `won`. `target` names what the driver prepared on the host.
        control_may_lose: why nobody may win on some machines; empty when everybody must.
    """

    name: str
    code: str
    control_may_lose: str = ""


def _system_call(
    name: str, numbers: tuple[int, int], *arguments: int, may_lose: str = ""
) -> Attack:
    """A call by its numbers on x86_64 and aarch64."""
    number = f"{dict(zip(('x86_64', 'aarch64'), numbers, strict=True))}[platform.machine()]"
    parameters = ", ".join([number, *map(str, arguments)])
    return Attack(name, f"{_SYSCALL}\nwon = allowed({parameters})", may_lose)


ROOT_ONLY = "only root may do this outside as well"
KERNEL = "this kernel does not offer it, or not to this user"

ATTACKS = (
    Attack(
        "read a file of the host",
        f"{_OPENS}\nwon = opens(target['secret'])",
    ),
    Attack(
        "read the host's password hashes or keys",
        f"{_OPENS}\nimport os\nhome = target['home_of_root']\n"
        "won = opens('/etc/shadow') or os.access(home, os.R_OK | os.X_OK)",
        ROOT_ONLY,
    ),
    Attack("write a file of the host", f"{_OPENS}\nwon = opens(target['writable'], 'w')"),
    Attack(
        "list the host's folders",
        "import os\nwon = 'folder' in target and os.path.exists(target['folder'])",
    ),
    Attack("write to /usr", f"{_OPENS}\nwon = opens('/usr/lib/probe-of-a-test', 'w')", ROOT_ONLY),
    Attack(
        "write to the root folder", f"{_OPENS}\nwon = opens('/probe-of-a-test', 'w')", ROOT_ONLY
    ),
    Attack("write to /dev", f"{_OPENS}\nwon = opens('/dev/probe-of-a-test', 'w')", ROOT_ONLY),
    Attack(
        "write a program that is run for others",
        f"{_OPENS}\nwon = opens(target['program'], 'a')",
    ),
    Attack(
        "set core_pattern",
        f"{_OPENS}\nwon = opens('/proc/sys/kernel/core_pattern', 'r+')",
        ROOT_ONLY,
    ),
    Attack("use sysrq", f"{_OPENS}\nwon = opens('/proc/sysrq-trigger', 'r+')", ROOT_ONLY),
    Attack(
        "read the names of the host's keys",
        "try:\n    won = bool(open('/proc/keys').read())\nexcept OSError:\n    won = False",
        KERNEL,
    ),
    *(
        Attack(
            f"read about the machine: {name}",
            f"try:\n    won = bool(open('/proc/{name}').read())\nexcept OSError:\n    won = False",
            KERNEL,
        )
        for name in (
            *("interrupts", "iomem", "partitions", "diskstats", "cmdline", "locks"),
            "sys/kernel/random/boot_id",
        )
    ),
    Attack(
        "read the names of disks and devices, and when they are used",
        "import os\nwon = False\n"
        "for name in ('softirqs', 'devices', 'misc', 'dma', 'consoles'):\n"
        "    try:\n        won = won or bool(open(f'/proc/{name}').read())\n"
        "    except OSError:\n        pass\n"
        "for name in ('acpi', 'asound', 'bus', 'driver', 'fs', 'irq', 'scsi'):\n"
        "    won = won or (os.path.isdir(f'/proc/{name}') and bool(os.listdir(f'/proc/{name}')))",
    ),
    Attack(
        "connect to a port of the host",
        "import socket\nwon = socket.socket().connect_ex(('127.0.0.1', target['port'])) == 0",
    ),
    Attack(
        "connect to an abstract socket of the host",
        "import socket\n"
        "won = socket.socket(socket.AF_UNIX).connect_ex('\\0' + target['abstract']) == 0",
    ),
    Attack(
        "have a route to the metadata service",
        "import socket\n"
        "won = socket.socket(2, socket.SOCK_DGRAM).connect_ex(('169.254.169.254', 80)) == 0",
        "this machine has no network",
    ),
    Attack(
        "resolve a name by a server",
        "won = any(line.startswith('nameserver') for line in open('/etc/resolv.conf'))",
        "this machine has no name server",
    ),
    *(
        Attack(
            f"open a socket of family {name}",
            f"import socket\ntry:\n    socket.socket({family}, {kind}).close(); won = True\n"
            "except OSError:\n    won = False",
            KERNEL,
        )
        for name, family, kind in (
            ("AF_VSOCK", 40, 1),
            ("AF_NETLINK", 16, 3),
            ("AF_PACKET", 17, 3),
            ("AF_ALG", 38, 5),
            ("AF_BLUETOOTH", 31, 5),
        )
    ),
    Attack(
        "see processes of the host",
        "import os\nwon = os.path.exists(f\"/proc/{target['victim']}/status\")"
        " and 'sleep' in open(f\"/proc/{target['victim']}/cmdline\").read()",
    ),
    Attack(
        "signal a process of the host",
        "import os\ntry:\n    os.kill(target['victim'], 0)\n"
        "    won = 'sleep' in open(f\"/proc/{target['victim']}/cmdline\").read()\n"
        "except OSError:\n    won = False",
    ),
    Attack(
        "read the environment of the one who started it",
        "import glob\nwon = False\n"
        "for path in glob.glob('/proc/[0-9]*/environ'):\n"
        "    try:\n        won = won or target['password'].encode() in open(path, 'rb').read()\n"
        "    except OSError:\n        pass",
    ),
    Attack(
        "read the command line of the one who started it",
        "import glob\nwon = False\n"
        "for path in glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    try:\n        won = won or target['project'].encode() in open(path, 'rb').read()\n"
        "    except OSError:\n        pass",
    ),
    Attack(
        "make a user namespace",
        "import os\npid = os.fork()\nif pid == 0:\n"
        "    try:\n        os.unshare(os.CLONE_NEWUSER)\n"
        "    except OSError:\n        os._exit(1)\n    os._exit(0)\n"
        "won = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0",
        KERNEL,
    ),
    Attack(
        "make a namespace by clone",
        f"{_SYSCALL}\nimport os\n"
        "CLONE_NEWUSER, SIGCHLD = 0x10000000, 17\n"
        "pid, _ = call({'x86_64': 56, 'aarch64': 220}[platform.machine()],"
        " CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)\n"
        "if pid == 0:\n    os._exit(0)\n"
        "if pid > 0:\n    os.waitpid(pid, 0)\n"
        "won = pid > 0",
        KERNEL,
    ),
    Attack(
        "change the root folder",
        "import os\npid = os.fork()\nif pid == 0:\n"
        "    try:\n        os.chroot('/')\n"
        "    except OSError:\n        os._exit(1)\n    os._exit(0)\n"
        "won = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0",
        ROOT_ONLY,
    ),
    _system_call("mount", (165, 40), 1, 1, 1, may_lose=ROOT_ONLY),
    _system_call("fsopen", (430, 430), 0, 0, may_lose=KERNEL),
    _system_call("open_tree", (428, 428), -1, 0, 0, may_lose=KERNEL),
    _system_call("setns", (308, 268), -1, 0),
    _system_call("keyctl: the user's keyring", (250, 219), 0, -4, 0, may_lose=KERNEL),
    _system_call("add_key", (248, 217), 0, 0, 0, 0, 0, may_lose=KERNEL),
    _system_call("ptrace of a process", (101, 117), 16, 999999),
    _system_call("process_vm_readv", (310, 270), 999999, 0, 0, 0, 0, 0),
    _system_call("bpf", (321, 280), 0, 0, 0, may_lose=KERNEL),
    _system_call("perf_event_open", (298, 241), 0, 0, -1, -1, 0, may_lose=KERNEL),
    _system_call("io_uring_setup", (425, 425), 1, 0, may_lose=KERNEL),
    _system_call("userfaultfd", (323, 282), 1, may_lose=KERNEL),
    _system_call("memfd_create: memory that no process has mapped", (319, 279), 0, 0),
    _system_call("shmget: memory that outlives its process", (29, 194), 0, 4096, 0o1600),
    _system_call("kexec_load", (246, 104), 0, 0, 0, 0, may_lose=ROOT_ONLY),
    _system_call("init_module", (175, 105), 0, 0, 0, may_lose=ROOT_ONLY),
    _system_call("open_by_handle_at", (304, 265), -1, 0, 0, may_lose=ROOT_ONLY),
    _system_call("personality: no address randomization", (135, 92), 0x0040000),
    _system_call("set the clock", (227, 112), 0, 0, may_lose=ROOT_ONLY),
    *(
        # Its own file, or who owns the image would decide and not the sandbox.
        Attack(
            f"fcntl: {name}",
            f"{_SYSCALL}\nimport os, tempfile\n"
            "with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:\n"
            "    descriptors = {'file': file.fileno(), 'folder': os.open(folder, os.O_RDONLY)}\n"
            "    number = {'x86_64': 72, 'aarch64': 25}[platform.machine()]\n"
            f"    won = allowed(number, descriptors['{on}'], {command}, {argument})\n"
            "    os.close(descriptors['folder'])",
        )
        for name, on, command, argument in (
            ("a lease", "file", 1024, 1),
            # The kernel reads the lower half of the command.
            ("a lease, with bits above the command", "file", 1024 | 1 << 40, 1),
            ("a lease, with the sign bit above the command", "file", 1024 - (1 << 32), 1),
            ("notice of changes in a folder", "folder", 1026, 0x80000001),
            ("a lock that outlives its process", "file", 37, 1),
        )
    ),
    Attack(
        "start a process that leaves its locks behind",
        f"{_SYSCALL}\nimport os\n"
        "CLONE_FILES, SIGCHLD = 0x400, 17\n"
        "pid, _ = call({'x86_64': 56, 'aarch64': 220}[platform.machine()],"
        " CLONE_FILES | SIGCHLD, 0, 0, 0, 0)\n"
        "if pid == 0:\n    os._exit(0)\n"
        "if pid > 0:\n    os.waitpid(pid, 0)\n"
        "won = pid > 0",
    ),
    Attack(
        "learn which pages of a shared file others have read",
        "import os\nfile = os.open(os.__file__, os.O_RDONLY)\n"
        "try:\n    os.preadv(file, [bytearray(1)], 0, os.RWF_NOWAIT); won = True\n"
        "except BlockingIOError:\n    won = True\n"
        "except OSError:\n    won = False\nos.close(file)",
        KERNEL,
    ),
    Attack(
        "have a crash start a program of the host",
        "import resource\nwon = resource.getrlimit(resource.RLIMIT_CORE) != (1, 1)",
    ),
    Attack(
        "outlive other programs where memory runs out",
        "won = int(open('/proc/self/oom_score_adj').read()) < 1000",
        "this process was given up already",
    ),
    Attack(
        "a larger pipe than usual",
        "import fcntl, os\nends = os.pipe()\n"
        "try:\n    fcntl.fcntl(ends[1], 1031, 1 << 19); won = True\n"
        "except OSError:\n    won = False\n"
        "for end in ends:\n    os.close(end)",
    ),
    *(
        Attack(
            f"open a socket of protocol {name}",
            f"import socket\ntry:\n    socket.socket({family}, {kind}, {protocol}).close()\n"
            "    won = True\nexcept OSError:\n    won = False",
            KERNEL,
        )
        for name, family, kind, protocol in (
            ("MPTCP", 2, 1, 262),
            ("MPTCP on IPv6", 10, 1, 262),
            ("UDP-Lite", 2, 2, 136),
            ("UDP-Lite on IPv6", 10, 2, 136),
        )
    ),
    *(
        Attack(
            f"open a socket of a rare kind: {name}",
            f"import socket\ntry:\n    socket.socket(2, {kind}, {protocol}).close(); won = True\n"
            "except OSError:\n    won = False",
            KERNEL,
        )
        for name, kind, protocol in (("SCTP", 5, 132), ("DCCP", 6, 33), ("SMC", 1, 256))
    ),
    Attack(
        "take over pid 1 by its memory",
        # Outside, a process of the same user stands for it.
        f"{_OPENS}\ntry:\n"
        "    first = target['victim'] if 'sleep' in "
        "open(f\"/proc/{target['victim']}/cmdline\").read() else 1\n"
        "except OSError:\n    first = 1\n"
        "won = opens(f'/proc/{first}/mem', 'r+b')",
        "Yama lets only root do this",
    ),
    Attack(
        "find pid 1 without the filter",
        "status = open('/proc/1/status').read()\n"
        "won = 'Seccomp:\\t2' not in status or 'NoNewPrivs:\\t1' not in status",
    ),
    Attack(
        "hand a descriptor to the one who started it, who then closes it",
        "import os, socket, stat\nwon = False\n"
        # Beyond 4 a session has sockets of its own.
        "outside = [target['channel']] if os.path.isdir(target['disk']) else []\n"
        "for number in [*range(5), *outside]:\n"
        "    try:\n"
        "        if stat.S_ISSOCK(os.fstat(number).st_mode):\n"
        "            with socket.socket(fileno=os.dup(number)) as channel:\n"
        "                socket.send_fds(channel, [b'x'], [0]); won = True\n"
        "    except OSError:\n        pass",
    ),
    *(
        Attack(
            f"hold the lock of a pipe that another reads, by {call}",
            "import os, socket, threading, time\n"
            "ends, (silent, other) = os.pipe(), socket.socketpair()\n"
            "os.set_blocking(ends[0], False)\n"
            "def hold():\n"
            f"    try:\n        os.{call}\n    except OSError:\n        pass\n"
            "released = threading.Event()\n"
            "def release():\n    released.set(); other.send(b'x')\n"
            "threads = threading.Thread(target=hold), threading.Timer(0.6, release)\n"
            "for thread in threads:\n    thread.start()\n"
            # Until a read waits for what only the release can end, whenever the holder has begun.
            "won = False\n"
            "while threads[0].is_alive() and not released.is_set():\n"
            "    started = time.monotonic()\n"
            "    try:\n        os.read(ends[0], 1)\n    except BlockingIOError:\n"
            "        time.sleep(0.01)\n"
            "    won = released.is_set() and time.monotonic() - started > 0.1\n"
            "threads[1].cancel()\n"
            "for thread in threads:\n    thread.join()\n"
            "other.close()",
            "this kernel does not wait there",
        )
        for call in (
            "splice(silent.fileno(), ends[1], 1)",
            "sendfile(ends[1], silent.fileno(), None, 1)",
        )
    ),
    *(
        Attack(
            f"socket option: {name}",
            "import socket, struct, ctypes\n"
            "program = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0))\n"
            "filter = struct.pack('HP', 1, ctypes.addressof(program))\n"
            f"own = socket.socket(2, {kind})\n"
            f"try:\n    own.setsockopt({level}, {option}, {value}); won = True\n"
            "except OSError:\n    won = False",
            KERNEL,
        )
        for name, kind, level, option, value in (
            ("a program of the packet filter", 2, 1, 26, "filter"),
            ("zero copy", 1, 1, 60, "1"),
            ("TCP in repair or as another protocol", 1, 6, 31, "b'tls'"),
            ("a level of its own", 2, 273, 1, "1"),
        )
    ),
    _system_call("prctl: let anybody trace it", (157, 167), 0x59616D61, -1, may_lose=KERNEL),
    _system_call("prctl: a filter with a listener of its own", (157, 167), 22, 2, 0),
    _system_call("madvise: merge equal pages, also those of others", (28, 233), 0, 0, 12),
    Attack(
        "ioctl: another line discipline",
        "import errno, fcntl, os, pty, struct\nmain, terminal = pty.openpty()\n"
        "try:\n    fcntl.ioctl(terminal, 0x5423, struct.pack('i', 0)); won = True\n"
        "except OSError:\n    won = False\nos.close(main); os.close(terminal)",
    ),
    _system_call("inotify_init1: see what others do in shared folders", (294, 26), 0),
    _system_call("fanotify_init", (300, 262), 0x200, 0, may_lose=KERNEL),
    Attack(
        "type into a terminal (TIOCSTI)",
        "import fcntl, os, pty, termios\n"
        "pid, terminal = pty.fork()\n"
        "if pid == 0:\n"
        "    try:\n        fcntl.ioctl(0, 0x5412, b'x'); os._exit(0)\n"
        "    except OSError:\n        os._exit(1)\n"
        "won = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0",
        KERNEL,
    ),
    Attack(
        "raise its own limits",
        "import resource\nresource.setrlimit(resource.RLIMIT_SIGPENDING, (10, 10))\n"
        "try:\n    resource.setrlimit(resource.RLIMIT_SIGPENDING, (20, 20)); won = True\n"
        "except (OSError, ValueError):\n    won = False",
        ROOT_ONLY,
    ),
    Attack(
        "gain rights from a setuid program",
        "import ctypes\nwon = ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) == 0",
    ),
    Attack(
        "have more processes than its limit",
        "import os, time\nchildren = []\n"
        "try:\n"
        "    for _ in range(200):\n"
        "        pid = os.fork()\n"
        "        if pid == 0:\n            time.sleep(30); os._exit(0)\n"
        "        children.append(pid)\n"
        "except OSError:\n    pass\n"
        "for pid in children:\n    os.kill(pid, 9)\n"
        "for pid in children:\n    os.waitpid(pid, 0)\n"
        "won = len(children) >= 130",
    ),
    Attack(
        "have more threads than its limit",
        "import threading\nstop, threads = threading.Event(), []\n"
        "try:\n"
        "    for _ in range(200):\n"
        "        thread = threading.Thread(target=stop.wait); thread.start()\n"
        "        threads.append(thread)\n"
        "except RuntimeError:\n    pass\n"
        "stop.set()\nfor thread in threads:\n    thread.join()\n"
        "won = len(threads) >= 130",
    ),
    Attack(
        "store more than its limit",
        "import os\npath = target['disk'] if os.path.isdir(target['disk']) else '/mnt/data'\n"
        "path += '/large'\n"
        "try:\n"
        "    with open(path, 'wb') as file:\n"
        "        os.posix_fallocate(file.fileno(), 0, 300 << 20)\n"
        "    won = True\n"
        "except OSError:\n    won = False\n"
        "os.unlink(path)",
        "the disk of this machine is full",
    ),
    Attack(
        "make more files than its limit",
        "import os\npath = target['many'] if os.path.isdir(target['many']) else '/mnt/data'\n"
        "path += '/many'\nos.mkdir(path)\nmade = 0\n"
        "file = os.open(f'{path}/0', os.O_CREAT | os.O_WRONLY)\n"
        "try:\n"
        "    for made in range(1, target['files']):\n        os.symlink('x', f'{path}/{made}')\n"
        "except OSError:\n    pass\n"
        "won = made == target['files'] - 1\n"
        "import shutil\nshutil.rmtree(path)",
        "the disk of this machine has no more inodes",
    ),
)
