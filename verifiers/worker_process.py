"""The inside of a worker process: take one job, do it, answer in JSON.

The parent writes pickled jobs (it is trusted) and reads JSON lines (a worker is not). A worker
limits its own memory, leaves no core file, and dies with its parent. Where the kernel can, it also
reaches no network, starts no process and signals nobody. It is killable and small, not a sandbox:
code that a model wrote is run elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import json
import os
import pickle
import resource
import signal
import struct
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast

from verifiers.base import (
    BadCheck,
    Prepared,
    SandboxJob,
    SandboxVerifier,
    UnknownVerifier,
    Verifier,
    Watchable,
    get_verifier,
)
from verifiers.findings import BadFinding, from_wire, to_wire
from verifiers.sandbox.confine import confine

FRAME = struct.Struct(">I")
"""Length of the pickle that follows, in bytes."""
KEPT_READY = 32
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the parent on the socket whose descriptor is `argv[2]`, until it is closed."""
    socket_fd, parent = int(sys.argv[2]), int(sys.argv[3])
    _die_with(parent)
    os.set_inheritable(socket_fd, False)
    inbox = open(socket_fd, "rb", closefd=False)  # noqa: SIM115 - open as long as the process
    setup = _read(inbox)
    if setup is None:
        return
    sys.path[:] = setup["path"]
    _limit(setup["memory_bytes"])
    importlib.import_module("verifiers")
    if setup["plugins"]:
        from verifiers.plugins import load_plugin  # here: most workers have none to load

        for plugin in setup["plugins"]:
            load_plugin(plugin)
    for module in setup["preload"]:
        with contextlib.suppress(ImportError):  # the verifier says what is missing
            importlib.import_module(module)
    confine()
    _write(socket_fd, {"ready": True})
    _serve(inbox, socket_fd)


def _serve(inbox: BinaryIO, socket_fd: int) -> None:
    me = os.getpid()
    kept: dict[bytes, _Ready] = {}
    while (job := _read(inbox)) is not None:
        try:
            reply = _do(job, kept)
        except BaseException as raised:  # a plug-in may raise SystemExit
            reply = {"fault": "raised", "error": type(raised).__name__}
        if os.getpid() != me:
            os._exit(1)  # a plug-in forked and both came back
        _write(socket_fd, {**reply, "nonce": job["nonce"]})


@dataclass(frozen=True, slots=True)
class _Ready:
    verifier: Verifier
    prepared: Prepared


def _do(job: Mapping[str, Any], kept: dict[bytes, _Ready]) -> dict[str, Any]:
    """Prepare a verifier, or let it judge; preparing again after a restart of the process."""
    try:
        ready = _make_ready(job["spec"], kept)
    except UnknownVerifier:
        return {"fault": "unknown_to_the_workers"}
    except BadCheck as bad:
        return {"bad": {"message": bad.message, "param": bad.param, "request": bad.request}}
    if job["candidate"] is None:
        contract = ready.prepared.contract
        return {
            "contract": asdict(contract) if contract is not None else None,
            "decisive": ready.prepared.decisive is True,
            "canaries": _canaries_of(ready),
        }
    if job["report"] is not None:
        conclude = cast(SandboxVerifier, ready.verifier).conclude
        found: object = conclude(ready.prepared, job["candidate"], job["answer"], job["report"])
    else:
        found = ready.verifier.verify(ready.prepared, job["candidate"], job["answer"])
    if isinstance(found, SandboxJob):
        return {"sandbox": asdict(found)}
    try:
        return {"finding": to_wire(from_wire(to_wire(found)))}
    except BadFinding as refused:
        return {"fault": refused.reason}


def _canaries_of(ready: _Ready) -> list[dict[str, Any]]:
    if not isinstance(ready.verifier, Watchable):
        return []
    return [asdict(canary) for canary in ready.verifier.canaries(ready.prepared)]


def _make_ready(spec: bytes, kept: dict[bytes, _Ready]) -> _Ready:
    digest = hashlib.sha256(spec).digest()
    if digest not in kept:
        name, options, check = pickle.loads(spec)
        verifier = get_verifier(name)
        ready = _Ready(verifier, verifier.prepare(options, check))
        if len(kept) >= KEPT_READY:
            kept.pop(next(iter(kept)))
        kept[digest] = ready
    return kept[digest]


def _read(inbox: BinaryIO) -> dict[str, Any] | None:
    head = inbox.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    job: dict[str, Any] = pickle.loads(inbox.read(FRAME.unpack(head)[0]))
    return job


def _write(socket_fd: int, reply: Mapping[str, Any]) -> None:
    left = json.dumps(reply).encode() + b"\n"
    while left:
        left = left[os.write(socket_fd, left) :]


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _die_with(parent: int) -> None:
    """End with the parent, also in the middle of a job. Elsewhere than Linux: at its next read."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
