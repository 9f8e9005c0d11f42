from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.base import Candidate, Check, VerifierSpec
from verifiers.run import Runner
from verifiers.sandbox import filters, local, probes, values
from verifiers.sandbox.engine import SandboxTimeout, SandboxUnavailable
from verifiers.sandbox.landlock import landlock_version
from verifiers.sandbox.local import LocalEngine
from verifiers.sandbox.values import BadBytes, NotPlain, dumps, loads

JOB = {
    "source": "def f(x):\n    return 2 * x\n",
    "units": [{"kind": "code", "code": "assert f(2) == 4"}],
    "orders": [[0], [0]],
    "entries": ["f"],
    "modules": [],
    "setup": "",
    "probes": [],
    "load": True,
    "time_limit_ms": 5_000,
    "memory_bytes": 2**29,
}


@pytest.fixture
async def sandbox():
    sandbox = LocalEngine()
    yield sandbox
    await sandbox.close()
    assert sandbox.pids == ()


async def test_the_self_test_tries_many_things_and_nothing_gets_through(sandbox):
    await sandbox.run(JOB, 20_000)

    assert await sandbox.self_test() == []
    assert len(probes._PROBES) >= 12


async def test_nothing_runs_before_the_self_test_and_warm_processes_are_few(sandbox):
    assert sandbox.pids == ()

    report = await sandbox.run(JOB, 20_000)

    assert [run["clean"] for run in report.body["runs"]] == [True, True]
    assert len(sandbox.pids) <= local.SPARES


def test_the_probes_notice_a_process_that_is_not_locked():
    """Outside of the sandbox most of them must get through, or they prove nothing inside."""
    code = (
        "from verifiers.sandbox.probes import run_probes; import os, sysconfig;"
        "told = run_probes({'foreign': False, 'parent': os.getppid(), 'memory_bytes': 2**20,"
        "'packages': sysconfig.get_path('purelib'), 'capabilities': 0});"
        "print(*told['open'])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    unlocked = {"read_passwd", "read_root_folder", "read_proc", "write_tmp", "tcp", "udp", "fork"}
    unlocked |= {"unix_socket", "signal_parent", "memory_file", "process_descriptor", "memory"}
    assert unlocked <= set(done.stdout.split())


async def test_a_sandbox_with_a_hole_is_not_used(caplog):
    """A filter that refuses nothing: the probes find it, and code is not run."""
    machine = filters.MACHINES[os.uname().machine]
    hole = b"".join([filters._load(0), filters._return(filters.ALLOW)])
    assert machine
    sandbox = LocalEngine(system_calls=lambda: hole)

    with pytest.raises(SandboxUnavailable, match="fork"):
        await sandbox.run(JOB, 20_000)
    with pytest.raises(SandboxUnavailable):
        await sandbox.run(JOB, 20_000)
    await sandbox.close()

    assert sum("sandbox is unavailable" in record.message for record in caplog.records) == 1


def no_landlock() -> int:
    raise OSError("this kernel has no Landlock, or it is switched off")


@pytest.mark.parametrize(
    "broken",
    [{"ruleset": no_landlock}, {"system_calls": bytes}, {"ruleset": lambda: os.open("/", 0)}],
    ids=["no_landlock", "unknown_machine", "no_ruleset"],
)
async def test_where_a_part_is_missing_code_is_an_error_and_never_a_pass(broken):
    runner = Runner(deadline_ms=20_000, sandbox=LocalEngine(**broken))
    spec = VerifierSpec(use="unit_tests", options={"tests": "assert f(2) == 4"})
    panel = await runner.prepare([spec], Check())

    judged = await runner.judge(panel, panel.contract, Candidate(text=JOB["source"]))
    await runner.close()

    (verdict,) = judged.verdicts
    assert (verdict.status, verdict.reason) == ("error", "sandbox_unavailable")
    assert verdict.evidence["error"]
    assert judged.reward is None


async def test_without_the_sandbox_it_says_so_loudly(caplog):
    with caplog.at_level(logging.CRITICAL):
        sandbox = LocalEngine(unsafe=True)

    report = await sandbox.run(JOB, 20_000)
    await sandbox.close()

    assert report.body["runs"][0]["clean"]
    assert [r.levelname for r in caplog.records if "UNSAFE" in r.message] == ["CRITICAL"]


async def test_tests_that_never_end_meet_the_deadline_and_leave_nobody(sandbox):
    await sandbox.run(JOB, 20_000)
    endless = {**JOB, "units": [{"kind": "code", "code": "while True: pass"}]}

    with pytest.raises(SandboxTimeout):
        await sandbox.run(endless, 300)

    assert len(sandbox.pids) <= local.SPARES


async def test_a_cancelled_run_leaves_nobody(sandbox):
    await sandbox.run(JOB, 20_000)
    endless = {**JOB, "source": "while True: pass"}
    running = asyncio.create_task(sandbox.run(endless, 60_000))
    await asyncio.sleep(0.2)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert len(sandbox.pids) <= local.SPARES


async def test_the_loop_does_not_wait_while_code_runs(sandbox):
    await sandbox.run(JOB, 20_000)
    running = asyncio.create_task(sandbox.run({**JOB, "source": "while True: pass"}, 1_000))

    ticks = 0
    while not running.done():
        await asyncio.sleep(0.005)
        ticks += 1
    await asyncio.gather(running, return_exceptions=True)

    assert ticks > 20


def test_this_kernel_offers_landlock():
    assert landlock_version() >= 1


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.datetimes()
    | st.timedeltas(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.frozensets(st.integers() | st.text())
        | st.sets(st.integers())
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_values_cross_unchanged(value):
    back = loads(dumps(value))

    assert back == value
    assert type(back) is type(value)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data):
    with contextlib.suppress(BadBytes):
        loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"l99999999999:N",
        b"l9:",
        b"s5:ab",
        b"s-1:a",
        b"i3:abx",
        b"NN",
        b"d1:l0:N",
        b"e1:l0:",
        b"k1:s9:os.system",
        b"k2:s9:os.systems2:id",
        b"k2:s15:decimal.Decimall0:",
        b"f3:1_0",
        b"f9:__import__",
        b"r3:i1:1i1:1i1:0",
        b"h1:N",
        b"l1:" * 5000 + b"N",
        b"i70000:" + b"f" * 70000,
        b"\xff" * 40,
    ],
    ids=lambda data: ascii(data[:20]),
)
def test_bytes_that_are_no_value_are_refused(data):
    with pytest.raises(BadBytes):
        loads(data)


class Equal(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


def test_a_value_of_a_class_of_ones_own_crosses_as_what_it_is_built_on():
    back = loads(dumps([Equal(7), {Equal(8): Equal(9)}]))

    assert back == [7, {8: 9}]
    assert type(back[0]) is int


def test_what_is_not_plain_does_not_cross():
    cycle: list[object] = []
    cycle.append(cycle)
    for value in (object(), cycle, print, iter(()), "x" * (values.MAX_BYTES + 1), 1 << 400_000):
        with pytest.raises(NotPlain):
            dumps(value)


def decide(program: bytes, call: int, *arguments: int, arch: int) -> int:
    """What a filter says about one system call: an interpreter of classic BPF."""
    data = struct.pack("<IIQ6Q", call, arch, 0, *(*arguments, *[0] * (6 - len(arguments))))
    at = loaded = 0
    while True:
        code, when_true, when_false, value = struct.unpack_from("<HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: loaded & value}[code]
            at += when_true if holds else when_false


WANTED = [
    ("read", (), filters.ALLOW),
    ("openat", (0, 0, 0), filters.ALLOW),
    ("openat", (0, 0, 0o1), filters.REFUSE),
    ("openat", (0, 0, 0o101), filters.REFUSE),
    ("openat", (0, 0, 0o1000), filters.REFUSE),
    ("clone", (0x3D0F00,), filters.ALLOW),
    ("clone", (0x1200011,), filters.REFUSE),
    ("clone", (0x10000011,), filters.REFUSE),
    ("clone3", (), filters.ABSENT),
    ("ioctl", (0, 0x5401), filters.ALLOW),
    ("ioctl", (0, 0x5412), filters.REFUSE),
    ("fcntl", (0, 3), filters.ALLOW),
    ("fcntl", (0, 8), filters.REFUSE),
    ("prlimit64", (0,), filters.ALLOW),
    ("prlimit64", (77,), filters.REFUSE),
]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_each_machine_decides_by_number_and_argument(machine):
    arch, column = filters.MACHINES[machine]
    program = filters.sandbox_filter(machine)
    table = {**filters.ALLOWED, **filters.BY_ARGUMENT}

    for call, arguments, wanted in WANTED:
        assert decide(program, table[call][column], *arguments, arch=arch) == wanted, call
    for call, numbers in filters.WORKER_REFUSED.items():
        if numbers[column] is not None:
            assert decide(program, numbers[column], arch=arch) == filters.REFUSE, call
    assert decide(program, 63, arch=0x40000003) == filters.KILL
    assert decide(program, 9_999, arch=arch) == filters.REFUSE


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_workers_keep_their_files_and_lose_the_rest(machine):
    arch, column = filters.MACHINES[machine]
    program = filters.worker_filter(machine)

    for numbers in filters.WORKER_REFUSED.values():
        if numbers[column] is not None:
            assert decide(program, numbers[column], arch=arch) == filters.REFUSE
    opened = filters.BY_ARGUMENT["openat"][column]
    assert decide(program, opened, 0, 0, 0o101, arch=arch) == filters.ALLOW
    started = filters.BY_ARGUMENT["clone"][column]
    assert decide(program, started, 0x1200011, arch=arch) == filters.REFUSE


def test_calls_of_the_other_64_bit_world_kill():
    arch, _ = filters.MACHINES["x86_64"]

    for program in (filters.sandbox_filter("x86_64"), filters.worker_filter("x86_64")):
        assert decide(program, filters.X32_BIT | 39, arch=arch) == filters.KILL


def test_an_unknown_machine_has_no_filter():
    assert filters.sandbox_filter("riscv64") == b""
