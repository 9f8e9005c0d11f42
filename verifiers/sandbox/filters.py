"""Which system calls a process may make, as programs for the kernel (seccomp, classic BPF).

`sandbox_filter` allows a short list and refuses the rest: no sockets, no fork or exec, no signals,
no namespaces, tracing, keys, bpf, io_uring, memory files or process descriptors; files are opened
for reading only. `worker_filter` allows all but the network, new processes and the worst of the
rest. Calls of another architecture (also x32) kill. Paths cannot be seen here: Landlock does those.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE = 0x00050000 | 1
"""The call fails with EPERM."""
ABSENT = 0x00050000 | 38
"""The call fails with ENOSYS, so that libc takes the older call instead."""

X32_BIT = 0x40000000
CLONE_THREAD = 0x10000
WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000 | 0o20000000
"""Flags of open: WRONLY, RDWR, CREAT, TRUNC, APPEND, and the bit of TMPFILE."""
HARMLESS_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONCLEX, FIOCLEX."""


class Machine(NamedTuple):
    """An architecture as the kernel names it."""

    audit_arch: int
    column: int
    """Which number of the table is its own."""


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(0xC000003E, 0),
    "aarch64": Machine(0xC00000B7, 1),
}

Table = Mapping[str, tuple[int | None, int | None]]

ALLOWED: Table = {
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "close": (3, 57),
    "close_range": (436, 436),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "stat": (4, None),
    "lstat": (6, None),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getrusage": (98, 165),
    "times": (100, 153),
    "time": (201, None),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "setitimer": (38, 103),
    "getitimer": (36, 102),
    "alarm": (37, None),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getrandom": (318, 278),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getrlimit": (97, 163),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    "fadvise64": (221, 223),
}
"""Numbers on x86_64 and aarch64; None where an architecture has no such call."""

BY_ARGUMENT: Table = {
    "open": (2, None),
    "openat": (257, 56),
    "ioctl": (16, 29),
    "fcntl": (72, 25),
    "prlimit64": (302, 261),
    "clone": (56, 220),
    "clone3": (435, 435),
}
"""Calls whose arguments decide."""

WORKER_REFUSED: Table = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "userfaultfd": (323, 282),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
}


def sandbox_filter(machine: str | None = None) -> bytes:
    """For processes that run code of a stranger. Empty: this architecture is not known."""
    return _program(machine, ALLOWED, ALLOW, default=REFUSE, by_argument=BY_ARGUMENT)


def worker_filter(machine: str | None = None) -> bytes:
    """For workers: they read files and write what plug-ins write, but reach nobody."""
    threads_only = {name: BY_ARGUMENT[name] for name in ("clone", "clone3")}
    return _program(machine, WORKER_REFUSED, REFUSE, default=ALLOW, by_argument=threads_only)


def _program(
    name: str | None, table: Table, action: int, *, default: int, by_argument: Table
) -> bytes:
    machine = MACHINES.get(name or platform.machine())
    if machine is None:
        return b""
    code = [_load(_ARCH), *_unless_equal(machine.audit_arch, KILL), _load(_NUMBER)]
    if machine.column == 0:
        code += [_jump(_AT_LEAST, X32_BIT, 0, 1), _return(KILL)]
    for call, numbers in by_argument.items():
        number = numbers[machine.column]
        if number is not None:
            body = _RULES[call]
            code += [_jump(_EQUAL, number, 0, len(body)), *body]
    for numbers in table.values():
        number = numbers[machine.column]
        if number is not None:
            code += [_jump(_EQUAL, number, 0, 1), _return(action)]
    return b"".join([*code, _return(default)])


_NUMBER, _ARCH = 0, 4
_EQUAL, _AT_LEAST, _ANY_BIT = 0x15, 0x35, 0x45


def _low(argument: int) -> int:
    """Where the lower half of an argument stands; both machines are little-endian."""
    return 16 + 8 * argument


def _load(offset: int) -> bytes:
    return struct.pack("<HBBI", 0x20, 0, 0, offset)


def _jump(test: int, value: int, when_true: int, when_false: int) -> bytes:
    return struct.pack("<HBBI", test, when_true, when_false, value)


def _return(action: int) -> bytes:
    return struct.pack("<HBBI", 0x06, 0, 0, action)


def _unless_equal(value: int, action: int) -> Sequence[bytes]:
    return [_jump(_EQUAL, value, 1, 0), _return(action)]


def _reading_only(flags: int) -> Sequence[bytes]:
    return [_load(_low(flags)), _jump(_ANY_BIT, WRITING, 0, 1), _return(REFUSE), _return(ALLOW)]


def _one_of(argument: int, values: Sequence[int]) -> Sequence[bytes]:
    tests = [part for v in values for part in (_jump(_EQUAL, v, 0, 1), _return(ALLOW))]
    return [_load(_low(argument)), *tests, _return(REFUSE)]


_RULES: Mapping[str, Sequence[bytes]] = {
    "open": _reading_only(1),
    "openat": _reading_only(2),
    "ioctl": _one_of(1, HARMLESS_IOCTLS),
    # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC: no locks, no owner, no signals.
    "fcntl": _one_of(1, (0, 1, 2, 3, 1030)),
    "prlimit64": _one_of(0, (0,)),
    "clone": [
        _load(_low(0)),
        _jump(_ANY_BIT, CLONE_THREAD, 0, 1),
        _return(ALLOW),
        _return(REFUSE),
    ],
    "clone3": [_return(ABSENT)],
}
