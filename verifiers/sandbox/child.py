"""The inside of a sandboxed process: wait for one job, lock the door, do it, end.

Started as `python -I -S child.py CONTROL RULESET PARENT` with an empty environment. Until the job
is here no code of a stranger exists; from `lock_down` on the process can read the library, compute,
and talk over the descriptors it was handed, and nothing else. It is used once. What launched it may
have walled it in before (`launching.py`); it does not rely on that.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import types

TYPE_CHECKING = False  # `typing` costs 12 ms, more than the start of the interpreter
if TYPE_CHECKING:
    from typing import Any

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS = 1, 4, 8
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
SIGKILL = 9
LANDLOCK_RESTRICT_SELF = 446
CAPSET = {"x86_64": 126, "aarch64": 91}
CONTROL, FIRST_PIPE = 3, 4
"""Where the descriptors stand once a job is taken; the rule set comes after the last pipe."""
_HIGH = 200


class CannotLock(Exception):
    """A part of the sandbox is missing, so nothing may run."""


def main() -> None:
    """Take the job from the control socket and do it."""
    control, ruleset, parent = (int(text) for text in sys.argv[1:4])
    _die_with(parent)
    package = types.ModuleType("verifiers")
    package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules["verifiers"] = package
    from verifiers.sandbox import candidate_side, pipes, test_side  # noqa: F401 - ready before

    job, descriptors = _take_job(control)
    if job["role"] == "probes":
        from verifiers.sandbox import probes  # noqa: F401
    _arrange([control, *descriptors, *([ruleset] if ruleset >= 0 else [])])
    try:
        if not job["unsafe"]:
            lock_down(FIRST_PIPE + len(descriptors), parent, job)
        pipes.send_value(CONTROL, "locked")
    except (CannotLock, OSError, ValueError) as missing:
        pipes.send_value(CONTROL, f"{type(missing).__name__}: {missing}"[:300])
        os._exit(1)
    sys.argv[:] = [""]
    _ROLES[job["role"]](job)
    os._exit(0)


def _play_candidate(job: dict[str, Any]) -> None:
    from verifiers.sandbox.candidate_side import serve

    os.close(CONTROL)
    serve(FIRST_PIPE, FIRST_PIPE + 1)


def _play_tests(job: dict[str, Any]) -> None:
    from verifiers.sandbox.pipes import send_value
    from verifiers.sandbox.test_side import run_tests

    links = [(fd, fd + 1) for fd in range(FIRST_PIPE, FIRST_PIPE + 2 * job["links"], 2)]
    send_value(CONTROL, run_tests(job, links, lambda word: send_value(CONTROL, word)))


def _play_probes(job: dict[str, Any]) -> None:
    from verifiers.sandbox.pipes import send_value
    from verifiers.sandbox.probes import run_probes

    send_value(CONTROL, run_probes(job))


_ROLES = {"candidate": _play_candidate, "tests": _play_tests, "probes": _play_probes}


def lock_down(ruleset: int, parent: int, job: dict[str, Any]) -> None:
    """Give up every right that the job does not need. Raises `CannotLock` or OSError."""
    _limit(job)
    libc = ctypes.CDLL(None, use_errno=True)
    _leave_root(libc, job["uid"])
    _die_with(parent)  # a change of user forgot it
    _call(libc.prctl, "no_new_privs", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call(libc.prctl, "dumpable", PR_SET_DUMPABLE, 0, 0, 0, 0)
    if job["landlock"]:
        _call(libc.syscall, "Landlock", LANDLOCK_RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)
    _drop_capabilities(libc, job["capabilities"])
    code: bytes = job["filter"]
    if not code:
        raise CannotLock(f"no system call table for {os.uname().machine}")
    held = ctypes.create_string_buffer(code, len(code))
    program = Program(len(code) // 8, ctypes.cast(held, ctypes.c_void_p))
    address = ctypes.byref(program)
    _call(libc.prctl, "seccomp", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, address, 0, 0)
    _must_fail(lambda: os.listdir("/"), "a folder was readable")
    _must_fail(_fork, "a fork went through")


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _limit(job: dict[str, Any]) -> None:
    seconds = job["cpu_s"]
    for name, soft, hard in (
        (resource.RLIMIT_AS, job["memory_bytes"], job["memory_bytes"]),
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ):
        most = resource.getrlimit(name)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(name, (soft, hard))


def _leave_root(libc: ctypes.CDLL, own: int) -> None:
    """As root, become a user that owns nothing; without the right to, the capabilities still go."""
    if os.getuid() != 0:
        return
    _call(libc.prctl, "keepcaps", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    try:
        os.setgroups([])
        os.setresgid(own, own, own)
        os.setresuid(own, own, own)
    except OSError:
        return
    resource.setrlimit(resource.RLIMIT_NPROC, (64, 64))


def _drop_capabilities(libc: ctypes.CDLL, kept: int) -> None:
    """All but `kept`, which is none unless the interpreter lies in a folder of root alone."""
    number = CAPSET.get(os.uname().machine)
    if number is None:
        raise CannotLock(f"no system call table for {os.uname().machine}")
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    _call(libc.syscall, "capset", number, header, sets)


def _call(function: Any, what: str, *arguments: Any) -> None:
    if function(*arguments) != 0:
        raise CannotLock(f"{what}: {os.strerror(ctypes.get_errno())}")


def _must_fail(attempt: Any, message: str) -> None:
    try:
        attempt()
    except OSError:
        return
    raise CannotLock(message)


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _take_job(control: int) -> tuple[dict[str, Any], list[int]]:
    """The job and the descriptors that came with its first bytes."""
    import _socket

    from verifiers.sandbox.values import loads

    with_fds = _socket.socket(fileno=os.dup(control))
    head, ancillary, _, _ = with_fds.recvmsg(4, _socket.CMSG_SPACE(64))
    if len(head) != 4:
        os._exit(0)  # the parent needs no more
    with_fds.close()
    packed = b"".join(data for _, _, data in ancillary)
    descriptors = [
        int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4)
    ]
    size, data = int.from_bytes(head, "big"), bytearray()
    while len(data) < size:
        part = os.read(control, size - len(data))
        if not part:
            os._exit(0)
        data += part
    return loads(bytes(data)), descriptors


def _arrange(descriptors: list[int]) -> None:
    """Put them at 3, 4, 5, … and close all others but the standard ones."""
    high = [os.dup2(fd, _HIGH + index) for index, fd in enumerate(descriptors)]
    os.closerange(CONTROL, _HIGH)
    for index, fd in enumerate(high):
        os.dup2(fd, CONTROL + index, inheritable=False)
    os.closerange(_HIGH, _HIGH + len(high))


if __name__ == "__main__":
    main()
