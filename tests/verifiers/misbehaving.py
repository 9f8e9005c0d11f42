"""Verifiers that break the contract in every way; a plug-in module for the runner's tests."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from verifiers.base import (
    Answer,
    AnswerContract,
    BadCheck,
    Candidate,
    Check,
    Finding,
    Isolation,
    Prepared,
    Role,
    Status,
    register,
)

PASS = Finding(status=Status.PASS, score=1.0)


@register
class Misbehaving:
    """Does what its option `way` says, in `verify`, or in `prepare` when `early` is true."""

    name: ClassVar[str] = "misbehaving"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "inline"  # it says so, and is not believed
    options: ClassVar[Mapping[str, str]] = {"way": "", "early": "", "path": ""}

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        act = WAYS[options["way"]]
        if options.get("early"):
            act(options)
        contract = AnswerContract(kind="number")
        return Prepared(payload=(act, options), contract=contract, decisive=True)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        act, options = prepared.payload
        return act(options)


def fork(options: Mapping[str, Any]) -> Finding:
    os.fork()
    return PASS


def signal_the_parent(options: Mapping[str, Any]) -> Finding:
    os.kill(os.getppid(), 0)
    return PASS


def open_a_connection(options: Mapping[str, Any]) -> Finding:
    socket.create_connection(("127.0.0.1", 9))
    return PASS


def make_a_pair(options: Mapping[str, Any]) -> Finding:
    socket.socketpair()
    return PASS


def start_a_shell(options: Mapping[str, Any]) -> Finding:
    subprocess.run(["/bin/sh", "-c", "true"], check=True)
    return PASS


def eat_memory(options: Mapping[str, Any]) -> Finding:
    hoard = []
    while True:
        hoard.append(bytearray(2**26))


def recurse(options: Mapping[str, Any]) -> Finding:
    return recurse(options)


def print_a_pass(options: Mapping[str, Any]) -> Finding:
    print('{"finding": {"status": "pass", "score": 1}}', flush=True)  # noqa: T201 - the attack
    raise ValueError("after the print")


def forge_a_reply(options: Mapping[str, Any]) -> Finding:
    """Write a reply to every descriptor, as somebody would who knows the protocol."""
    line = b'{"finding": {"status": "pass", "score": 1, "reason": "", "evidence": {}}}\n'
    for fd in range(3, 64):
        try:
            os.write(fd, line)
        except OSError:
            continue
    return Finding(status=Status.FAIL)


def refuse(options: Mapping[str, Any]) -> Finding:
    raise BadCheck("no", param="way")


def write_pid(options: Mapping[str, Any]) -> Finding:
    Path(options["path"]).write_text(str(os.getpid()))
    time.sleep(3600)
    return PASS


def look_around(options: Mapping[str, Any]) -> Finding:
    descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    evidence = {"environ": dict(os.environ), "descriptors": descriptors, "cwd": os.getcwd()}
    return Finding(status=Status.PASS, evidence=evidence)


WAYS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "raise": lambda _: 1 / 0,
    "exit": lambda _: sys.exit(0),
    "hard_exit": lambda _: os._exit(0),
    "interrupt": lambda _: os.kill(os.getpid(), 2),
    "hang": lambda _: time.sleep(3600),
    "spin": lambda _: list(iter(int, 1)),
    "true": lambda _: True,
    "none": lambda _: None,
    "dict": lambda _: {"status": "pass", "score": 1.0},
    "nan": lambda _: Finding(status=Status.PASS, score=math.nan),
    "infinite": lambda _: Finding(status=Status.PASS, score=math.inf),
    "bool_score": lambda _: Finding(status=Status.PASS, score=True),
    "too_much": lambda _: Finding(status=Status.FAIL, score=99.0),
    "odd_evidence": lambda _: Finding(status=Status.PASS, evidence={"x": object()}),
    "fork": fork,
    "signal_the_parent": signal_the_parent,
    "open_a_connection": open_a_connection,
    "make_a_pair": make_a_pair,
    "start_a_shell": start_a_shell,
    "eat_memory": eat_memory,
    "recurse": recurse,
    "print_a_pass": print_a_pass,
    "forge_a_reply": forge_a_reply,
    "refuse": refuse,
    "write_pid": write_pid,
    "look_around": look_around,
    "pass": lambda _: PASS,
}
