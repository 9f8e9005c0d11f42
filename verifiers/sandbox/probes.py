"""What a sandboxed process must not be able to do, tried from inside.

Each probe returns normally only when something went through that should not; the report names
those. Run at start and again every few minutes: a sandbox that lets one through is not used.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable
from typing import Any

_REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSYS)
"""Any other error means that the kernel has looked at the arguments."""
PTRACE_SEIZE = 0x4206
"""Traces without stopping: the probe may get through."""
FOREIGN_CALL = 0x40000000 | 39
"""`getpid` of the x32 architecture: whoever makes it must die."""


def run_probes(job: dict[str, Any]) -> dict[str, Any]:
    """Names of all probes, and of those that got through."""
    if job["foreign"]:
        ctypes.CDLL(None).syscall(FOREIGN_CALL)
        return {"tried": ["foreign_call"], "open": ["foreign_call"]}
    got_through = []
    for name, probe in _PROBES.items():
        try:
            probe(job)
        except (OSError, MemoryError):
            continue
        got_through.append(name)
    return {"tried": list(_PROBES), "open": got_through}


def _read(path: str) -> Callable[[Any], Any]:
    return lambda _: os.read(os.open(path, os.O_RDONLY), 1)


def _write(folder: str) -> Callable[[Any], Any]:
    """Make a file there; a name of this process alone, and nothing is left where it works."""

    def probe(_: Any) -> None:
        path = f"{folder}/verivote-probe-{os.getpid()}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.unlink(path)

    return probe


def _make_folder(_: Any) -> None:
    path = f"/tmp/verivote-probe-{os.getpid()}"
    os.mkdir(path)
    os.rmdir(path)


def _socket(family: int, kind: int) -> Callable[[Any], Any]:
    return _call("socket", family, kind, 0)


def _call(name: str, *arguments: int) -> Callable[[Any], Any]:
    def probe(_: Any) -> None:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
        if function(*arguments) < 0 and ctypes.get_errno() in _REFUSALS:
            raise OSError(ctypes.get_errno(), name)

    return probe


def _system_call(x86_64: int, aarch64: int, *arguments: int) -> Callable[[Any], Any]:
    number = x86_64 if os.uname().machine == "x86_64" else aarch64
    return _call("syscall", number, *arguments)


def _fork(_: Any) -> None:
    if os.fork() == 0:
        os._exit(0)


def _exec(_: Any) -> None:
    """Whoever may execute would be told that there is no such file."""
    try:
        os.execv("/verivote/no-such-file", ["no-such-file"])
    except FileNotFoundError:
        return


def _much_memory(job: Any) -> Any:
    return bytearray(job["memory_bytes"])


def _stray_descriptors(_: Any) -> None:
    """Only the standard ones and the control socket may be open."""
    for fd in range(4, 64):
        try:
            os.fstat(fd)
        except OSError:
            continue
        return
    raise OSError("none")


def _environment(_: Any) -> None:
    harmless = {("PWD", "/")}  # bubblewrap's
    if {item for item in os.environ.items() if item[0] != "LC_CTYPE"} - harmless:
        return
    raise OSError("empty")


def _root(job: Any) -> None:
    """No capability but the one to read what Landlock allows."""
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    number = 125 if os.uname().machine == "x86_64" else 90
    ctypes.CDLL(None).syscall(number, header, sets)
    if list(sets) in ([0] * 6, [job["capabilities"], job["capabilities"], 0, 0, 0, 0]):
        raise OSError("none")


def _privileges(_: Any) -> None:
    os.setuid(0)


_PROBES: dict[str, Callable[[Any], Any]] = {
    "read_passwd": _read("/etc/passwd"),
    "read_root_folder": lambda _: os.listdir("/"),
    "read_home": lambda _: os.listdir("/root" if os.path.isdir("/root") else "/home"),
    "read_packages": lambda job: os.listdir(job["packages"]),
    "read_proc": _read("/proc/self/environ"),
    "read_parent_environ": lambda job: _read(f"/proc/{job['parent']}/environ")(job),
    "write_tmp": _write("/tmp"),
    "write_library": _write(os.path.dirname(os.__file__)),
    "write_shm": _write("/dev/shm"),
    "make_folder": _make_folder,
    "open_device": _read("/dev/zero"),
    "tcp": _socket(2, 1),
    "udp": _socket(2, 2),
    "unix_socket": _socket(1, 1),
    "netlink": _socket(16, 3),
    "fork": _fork,
    "exec": _exec,
    "signal_parent": lambda job: os.kill(job["parent"], 0),
    "signal_self": lambda _: os.kill(os.getpid(), signal.SIGURG),
    "trace_parent": lambda job: _call("ptrace", PTRACE_SEIZE, job["parent"], 0, 0)(job),
    "namespace": _call("unshare", 0x10000000),
    "memory_file": _system_call(319, 279, 0, 0),
    "process_descriptor": lambda job: _system_call(434, 434, job["parent"], 0)(job),
    "io_uring": _system_call(425, 425, 1, 0),
    "bpf": _system_call(321, 280, 0, 0, 0),
    "keys": _system_call(250, 219, 0, -3, 0),
    "perf": _system_call(298, 241, 0, 0, 0, 0, 0),
    "become_root": _privileges,
    "capabilities": _root,
    "memory": _much_memory,
    "descriptors": _stray_descriptors,
    "environment": _environment,
}
