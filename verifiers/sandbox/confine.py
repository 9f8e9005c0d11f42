"""What a worker gives up once its modules are loaded: the network, new processes, other processes.

A worker keeps its files, because plug-ins read models and write caches. A kernel that lacks a part
is no reason to stop here: workers run code that the operator installed.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

from verifiers.sandbox.child import (
    LANDLOCK_RESTRICT_SELF,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_SECCOMP,
    SECCOMP_MODE_FILTER,
    Program,
)
from verifiers.sandbox.filters import worker_filter
from verifiers.sandbox.landlock import CREATE_RULESET, landlock_version

SCOPES = 0b11
"""Abstract unix sockets and signals (Landlock 6)."""


def confine() -> None:
    """Give it up for good. Elsewhere than Linux nothing happens."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return
    if landlock_version() >= 6:
        ruleset = libc.syscall(CREATE_RULESET, struct.pack("=QQQ", 0, 0, SCOPES), 24, 0)
        libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)
    code = worker_filter()
    held = ctypes.create_string_buffer(code, len(code))
    program = Program(len(code) // 8, ctypes.cast(held, ctypes.c_void_p))
    libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
