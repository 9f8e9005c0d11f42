"""The sandbox's other back ends: bubblewrap for real, docker up to the daemon."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import stat
import sys
from pathlib import Path

import pytest

from tests.parts import ROOT, require
from tests.verifiers.waiting import is_gone, until
from verifiers.base import Candidate, Check, VerifierSpec
from verifiers.run import Runner
from verifiers.sandbox import docker as docker_module
from verifiers.sandbox.backends import make_engine, needs_trial, read_back_end
from verifiers.sandbox.bubblewrap import Bubblewrap
from verifiers.sandbox.docker import DockerEngine
from verifiers.sandbox.engine import SandboxTimeout, SandboxUnavailable
from verifiers.sandbox.local import LocalEngine

JOB = {
    "source": "def f(x):\n    return 2 * x\n",
    "units": [{"kind": "code", "code": "assert f(2) == 4"}],
    "orders": [[0], [0]],
    "entries": ["f"],
    "modules": [],
    "setup": "",
    "probes": ["f(21)"],
    "load": True,
    "time_limit_ms": 5_000,
    "memory_bytes": 2**29,
}
NO_BWRAP = "no bubblewrap on this machine: apt-get install bubblewrap"


@pytest.mark.parametrize("name", ["on", "bubblewrap", "docker", "docker:a/b:1", "unsafe"])
def test_a_back_end_is_known_by_name(name):
    assert read_back_end(name) == name
    assert needs_trial(name) == name.startswith(("bubblewrap", "docker"))


@pytest.mark.parametrize("name", ["", "off", "dokcer", "docker:", "on:x", "bubblewrap:x"])
def test_another_name_is_refused_with_the_known_ones(name):
    with pytest.raises(ValueError, match="known: on, bubblewrap, docker, unsafe, docker:IMAGE"):
        make_engine(name, size=1)


# bubblewrap -------------------------------------------------------------------------------------


def no_landlock() -> int:
    raise OSError("this kernel has no Landlock, or it is switched off")


@pytest.mark.parametrize("more", [{}, {"ruleset": no_landlock}], ids=["both", "without_landlock"])
async def test_bubblewrap_passes_the_same_self_test_also_where_there_is_no_landlock(more):
    require(shutil.which("bwrap"), NO_BWRAP)
    sandbox = LocalEngine(launcher=Bubblewrap(), **more)

    report = await sandbox.run(JOB, 20_000)
    through = await sandbox.self_test()
    await sandbox.close()

    assert [run["clean"] for run in report.body["runs"]] == [True, True]
    assert (through, sandbox.pids, sandbox.fault) == ([], (), "")


async def test_the_file_tree_inside_of_bubblewrap_has_the_library_and_nothing_else():
    """Without Landlock, so that only the walls of bubblewrap are seen."""
    require(shutil.which("bwrap"), NO_BWRAP)
    look = (
        "import os\n"
        "def f(path):\n"
        "    try:\n"
        "        return sorted(os.listdir(path))\n"
        "    except OSError as refused:\n"
        "        return type(refused).__name__\n"
    )
    places = ["/", "/root", "/home", "/tmp", "/etc", "/proc", str(ROOT), str(ROOT / "verifiers")]
    probes = [f"f({place!r})" for place in places]
    sandbox = LocalEngine(launcher=Bubblewrap(), ruleset=no_landlock)

    job = {**JOB, "source": look, "units": [], "orders": [[]], "probes": probes}
    report = await sandbox.run(job, 20_000)
    await sandbox.close()

    *closed, own = report.body["runs"][0]["observed"]
    assert {said for said in closed} <= {"'PermissionError'", "'FileNotFoundError'"}
    assert own == "['sandbox']"


async def test_without_bubblewrap_code_is_an_error_and_the_log_says_what_is_missing(caplog):
    sandbox = LocalEngine(launcher=Bubblewrap("bwrap-that-nobody-has"))

    with pytest.raises(SandboxUnavailable, match="not installed"):
        await sandbox.run(JOB, 20_000)
    await sandbox.close()

    assert "not installed" in sandbox.fault
    assert [r.levelname for r in caplog.records if "not installed" in r.message] == ["ERROR"]


def script(place: Path, text: str) -> str:
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(place.stat().st_mode | stat.S_IXUSR)
    return str(place)


async def test_a_bubblewrap_that_may_make_no_namespaces_says_so(tmp_path):
    refusing = script(tmp_path / "bwrap", "echo 'bwrap: No permissions to create' >&2; exit 1")
    sandbox = LocalEngine(launcher=Bubblewrap(refusing))

    with pytest.raises(SandboxUnavailable, match="No permissions to create"):
        await sandbox.run(JOB, 20_000)
    await sandbox.close()


async def test_a_bubblewrap_that_walls_nothing_in_is_found_out(tmp_path):
    """It only runs the command. Without Landlock nothing else would keep files apart."""
    open_ = script(tmp_path / "bwrap", 'while [ "$1" != "--" ]; do shift; done; shift; exec "$@"')
    sandbox = LocalEngine(launcher=Bubblewrap(open_), ruleset=no_landlock)

    with pytest.raises(SandboxUnavailable):
        await sandbox.run(JOB, 20_000)
    await sandbox.close()


# docker -----------------------------------------------------------------------------------------


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """`fake(image)` is an engine on a `docker` without a daemon; `fake.calls()` are its calls."""
    log = tmp_path / "calls"
    log.touch()
    monkeypatch.setenv("DOCKER_LOG", str(log))
    monkeypatch.setenv("VERIVOTE_SECRET", "s")

    def make(image: str = "verivote:1", **more: object) -> DockerEngine:
        command = (sys.executable, str(ROOT / "tests/fakes/docker.py"))
        return DockerEngine(image, docker=command, **more)

    make.calls = lambda: [json.loads(line) for line in log.read_text().splitlines()]
    return make


def test_a_container_has_no_network_no_writable_file_and_no_rights():
    command = DockerEngine("verivote:1").command("verivote-x", 512 * 2**20)

    assert command[:2] == ["docker", "run"]
    pairs = set(itertools.pairwise(command))
    assert {
        ("--network", "none"),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--memory", str(1280 * 2**20)),
        ("--memory-swap", str(1280 * 2**20)),
        ("--pids-limit", "64"),
        ("--user", "65534:65534"),
        ("--pull", "never"),
        ("--name", "verivote-x"),
        ("--entrypoint", "python"),
    } <= pairs
    assert {"--rm", "--interactive", "--read-only"} <= set(command)
    assert not {"--volume", "--mount", "--env", "--privileged", "--tty"} & set(command)
    assert command[command.index("verivote:1") + 1 :] == ["-I", "-c", docker_module.SERVE]


def test_the_image_is_the_products_own_unless_another_is_named():
    assert make_engine("docker:python-with-verivote:2", size=1)._image == "python-with-verivote:2"
    assert make_engine("docker", size=1)._image.startswith("verivote")


async def test_a_job_goes_into_the_container_and_its_report_comes_back(fake):
    sandbox = fake()

    report = await sandbox.run(JOB, 20_000)
    await sandbox.close()

    assert [run["clean"] for run in report.body["runs"]] == [True, True]
    assert report.body["runs"][0]["observed"] == ["42"]
    assert report.body["runs"][0]["behaviour"]
    assert 0 < report.run_ms < 20_000
    assert (sandbox.pids, sandbox.fault) == ((), "")
    (call,) = fake.calls()
    assert set(call["environ"]) - {"LC_CTYPE", "DOCKER_LOG"} <= set(docker_module.PASSED_ON)


async def test_a_verdict_of_a_container_is_that_of_the_local_sandbox(fake):
    runner = Runner(deadline_ms=20_000, sandbox=fake())
    spec = VerifierSpec(use="unit_tests", options={"tests": "assert f(2) == 4"})
    panel = await runner.prepare([spec], Check())

    judged = [
        await runner.judge(panel, panel.contract, Candidate(text=f"def f(x): return {body}"))
        for body in ("2 * x", "x")
    ]
    await runner.close()

    assert [each.verdicts[0].status for each in judged] == ["pass", "fail"]
    assert judged[0].verdicts[0].decisive


async def test_tests_that_never_end_meet_the_deadline_inside_of_the_container(fake):
    sandbox = fake()

    with pytest.raises(SandboxTimeout):
        await sandbox.run({**JOB, "units": [{"kind": "code", "code": "while True: pass"}]}, 500)
    await sandbox.close()

    assert sandbox.pids == ()


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("away", "Is the docker daemon running"),
        ("missing", "No such image"),
        ("garbage", "none of ours"),
    ],
)
async def test_a_docker_that_runs_nothing_is_an_error_that_says_why(fake, caplog, image, says):
    runner = Runner(deadline_ms=20_000, sandbox=fake(image))
    spec = VerifierSpec(use="unit_tests", options={"tests": "assert f(2) == 4"})
    panel = await runner.prepare([spec], Check())

    for _ in range(2):
        judged = await runner.judge(panel, panel.contract, Candidate(text=JOB["source"]))
        verdict = judged.verdicts[0]
        assert (verdict.status, verdict.reason) == ("error", "sandbox_unavailable")
        assert says in verdict.evidence["error"]
    await runner.close()

    assert says in runner.sandbox_fault
    assert sum(says in record.message for record in caplog.records) == 1


async def test_without_docker_there_is_no_container_and_a_gateway_says_so_at_start(caplog):
    runner = Runner(sandbox=DockerEngine("x", docker=("docker-that-nobody-has",)))
    runner._needs_trial = needs_trial("docker")

    await runner.start()
    await runner.close()

    assert "docker cannot be started" in runner.sandbox_fault
    assert any("docker cannot be started" in record.message for record in caplog.records)


async def test_a_container_that_says_nothing_is_given_up_killed_and_removed(fake, monkeypatch):
    monkeypatch.setattr(docker_module, "START_S", 0.3)
    sandbox = fake("silent")

    with pytest.raises(SandboxUnavailable, match="did not answer"):
        await sandbox.run(JOB, 10)
    await sandbox.close()

    started, removed = fake.calls()
    name = started["args"][started["args"].index("--name") + 1]
    assert removed["args"] == ["rm", "--force", name]
    assert sandbox.pids == ()


async def test_a_cancelled_run_leaves_nobody(fake):
    sandbox = fake()
    running = asyncio.create_task(sandbox.run({**JOB, "source": "while True: pass"}, 60_000))
    await until(lambda: bool(fake.calls()))
    (client,) = sandbox.pids

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await sandbox.close()

    assert is_gone(client)
    assert [call["args"][0] for call in fake.calls()] == ["run", "rm"]


async def test_a_run_can_be_cancelled_at_any_moment_of_its_start(fake):
    sandbox = fake(size=1)
    for turns in range(40):
        running = asyncio.create_task(sandbox.run(JOB, 60_000))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=30)
        assert done, f"cancelled after {turns} turns of the loop, it did not end"
    async with asyncio.timeout(60):
        await sandbox.close()

    assert sandbox.pids == ()


async def test_what_runs_in_a_container_ends_with_its_client(fake):
    """The client is killed and nobody removes anything: stdin is closed, and that ends it."""
    sandbox = fake()
    endless = {**JOB, "units": [{"kind": "code", "code": "while True: pass"}]}
    running = asyncio.create_task(sandbox.run(endless, 60_000))
    await until(lambda: bool(sandbox.pids) and bool(children_of(sandbox.pids[0])))
    (served,) = children_of(sandbox.pids[0])

    os.kill(sandbox.pids[0], signal.SIGKILL)
    with pytest.raises(SandboxUnavailable):
        await running

    await until(lambda: is_gone(served))
    await sandbox.close()


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found
