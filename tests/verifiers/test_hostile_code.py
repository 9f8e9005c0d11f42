"""Every hack against every form of tests: never a pass, nothing written, nobody reached or left.

In every run each hack meets two forms of tests in the sandbox as it comes, so that a family meets
nearly all of them; a few of a family also meet the back end that walls it in further. The rest of
the matrix, against both, is marked `matrix`: `make test-sandbox` runs all of it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.parts import require
from tests.verifiers.attacks import ATTACKS, HACKS, KINDS, Hack, Kind
from tests.verifiers.waiting import until
from verifiers.base import Candidate, Check, VerifierSpec
from verifiers.run import Runner

pytestmark = pytest.mark.asyncio(loop_scope="module")


FAMILIES = {
    family: [hack for hack in HACKS if hack.family == family]
    for family in sorted({hack.family for hack in HACKS})
}
FORMS = len(KINDS)
IN_EVERY_RUN = {
    "on": {
        (hack, KINDS[form % FORMS].name)
        for hacks in FAMILIES.values()
        for number, hack in enumerate(hacks)
        for form in (2 * number, 2 * number + 1)
    },
    "bubblewrap": {
        (hack, KINDS[number % FORMS].name)
        for hacks in FAMILIES.values()
        for number, hack in enumerate(hacks[:3])
    },
}


def case(sandbox: str, hack: Hack, kind: Kind):
    marks = () if (hack, kind.name) in IN_EVERY_RUN[sandbox] else pytest.mark.matrix
    name = f"{sandbox}-{hack.family}:{hack.name}-{kind.name}"
    return pytest.param(sandbox, hack, kind, id=name, marks=marks)


CASES = [case(sandbox, *pair) for sandbox in IN_EVERY_RUN for pair in ATTACKS]
DEADLINE_MS = 8_000
LIMIT_MS = 400


class Trap:
    """A folder with a secret and a listening port, neither of which may notice anything."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "secret").write_text("secret")
        place.chmod(0o777)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.tcp.setblocking(False)
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setblocking(False)
        self.udp.bind(("127.0.0.1", self.port))

    def check(self) -> None:
        assert [path.name for path in self.place.iterdir()] == ["secret"]
        for sock, reach in ((self.tcp, socket.socket.accept), (self.udp, socket.socket.recvfrom)):
            with pytest.raises(BlockingIOError):
                reach(sock, *(() if sock is self.tcp else (9,)))

    def close(self) -> None:
        self.tcp.close()
        self.udp.close()


@pytest.fixture(scope="module")
def trap(tmp_path_factory):
    trap = Trap(tmp_path_factory.mktemp("trap"))
    yield trap
    trap.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def judge(request):
    if request.param == "bubblewrap":
        require(shutil.which("bwrap"), "no bubblewrap on this machine: apt-get install bubblewrap")
    others = children()
    runner = Runner(deadline_ms=DEADLINE_MS, workers=1, sandbox=request.param)
    yield Judge(runner, others)
    await runner.close()
    assert children() <= others


@dataclass(frozen=True)
class Judge:
    """A runner, and the processes of this one that were there before it."""

    runner: Runner
    others: set[int]

    def strangers(self) -> set[int]:
        """Processes that neither belong to the runner nor were there before."""
        known = {*self.others, *self.runner.worker_pids, *self.runner.sandbox_pids}
        return children() - known


def children() -> set[int]:
    """Processes that this one started, or that lost their parent to it."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.add(int(path.parent.name))
    return found


async def verdict_on(runner: Runner, kind: Kind, source: str, limit_ms: int = LIMIT_MS):
    spec = VerifierSpec(use="unit_tests", options={**kind.options, "time_limit_ms": limit_ms})
    panel = await runner.prepare([spec], Check())
    text = f"Here it is:\n```python\n{source}\n```\n"
    judged = await runner.judge(panel, panel.contract, Candidate(text=text))
    return judged.verdicts[0]


@pytest.mark.parametrize(("judge", "hack", "kind"), CASES, indirect=["judge"])
async def test_a_hostile_answer_is_contained_and_never_passes(judge, trap, hack: Hack, kind: Kind):
    source = kind.write(hack).replace("{port}", str(trap.port)).replace("{place}", str(trap.place))
    started = time.monotonic()

    verdict = await verdict_on(judge.runner, kind, source)

    assert verdict.status in ("fail", "error"), verdict
    assert verdict.score is None or verdict.score < 1
    assert time.monotonic() - started < DEADLINE_MS / 1000 + 2
    trap.check()
    await until(lambda: not judge.strangers())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("judge", ["on", "bubblewrap"], indirect=True)
async def test_the_honest_solution_of_every_kind_passes(judge, kind):
    verdict = await verdict_on(judge.runner, kind, kind.solution, limit_ms=5_000)

    assert (verdict.status, verdict.score) == ("pass", 1.0), verdict
    assert verdict.decisive


async def test_the_matrix_covers_every_family():
    families = {hack.family for hack in HACKS}

    assert {
        *("exit", "forge", "comparator", "reading", "overfit", "process", "network", "file"),
        *("memory", "output", "descriptor", "timing", "kernel"),
    } <= families
    assert len(HACKS) * len(KINDS) >= 60
    assert len({hack.name for hack in HACKS}) == len(HACKS)
    assert not [hack for hack in HACKS if re.search(r"args\[0\] \* 2|2 \* args", hack.result)]
