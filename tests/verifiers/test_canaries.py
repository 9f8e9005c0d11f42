"""Known-bad answers: whoever passes one is put out of use."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest

from verifiers.base import (
    AnswerContract,
    Candidate,
    Check,
    Finding,
    Prepared,
    Status,
    VerifierSpec,
    known_verifiers,
    register,
)
from verifiers.run import Runner

NONE = AnswerContract()
CHECK = Check(prompt="Hi", tools=({"type": "function", "function": {"name": "f"}},))
OPTIONS: dict[str, list[dict]] = {
    "calculator": [{"expression": "6 * 7"}],
    "choice": [{"reference": "B"}, {"choices": ["Yes", "No"], "reference": "No"}],
    "constraints": [{"instructions": [{"id": "punctuation:no_comma"}]}],
    "format": [{}, {"json_only": True}],
    "policy": [{"forbid": ["pii"]}, {"forbid": ["card"], "allowed_hosts": []}],
    "date": [{"reference": "2024-01-02"}],
    "json_equal": [{"reference": {"a": 1}}, {"reference": None}, {"reference": [1], "ignore": []}],
    "json_schema": [{"schema": True}, {"schema": {"type": "object"}}],
    "ledger": [{"total": "/total", "items": "/items/*"}],
    "list": [{"reference": ["1", "2"]}],
    "math": [{"reference": "1"}, {"reference": "\\{1, 2\\}"}, {"reference": "x+1"}],
    "number": [{"reference": 42}, {"reference": "1/3", "tolerance": 5}],
    "set": [{"reference": ["1", "2"]}],
    "steps": [{}, {"rounding": "none"}],
    "tool_calls": [{}],
    "unit_tests": [{"entry_point": "f", "tests": "assert f(2) == 4"}],
    "text": [{"reference": "Canberra"}, {"reference": ["a", "b"]}],
}


@pytest.mark.parametrize(
    ("use", "options"), [(use, each) for use, listed in OPTIONS.items() for each in listed]
)
async def test_every_canary_of_a_kind_fails(runner, use, options):
    panel = await runner.prepare([VerifierSpec(use=use, options=options)], CHECK)
    (member,) = panel.members

    contract = member.prepared.contract or NONE
    found = [(await runner.judge(panel, contract, each)).verdicts[0] for each in member.canaries]

    assert {verdict.status for verdict in found} == {"fail"}


def sleepy(name: str, role: str = "outcome"):
    """A built-in look-alike that passes everything once it has fallen asleep."""

    class Sleepy:
        version, isolation = "1", "inline"
        options: ClassVar = {"rubric": "Which one."}
        asleep = False

        def detect(self, check):
            return None

        def prepare(self, options, check):
            return Prepared(payload=None)

        def verify(self, prepared, candidate, answer):
            good = type(self).asleep or candidate.text == "good"
            return Finding(status=Status.PASS if good else Status.FAIL)

        def canaries(self, prepared):
            return [Candidate(text="bad")]

    Sleepy.name, Sleepy.role = name, role
    Sleepy.__module__ = "verifiers.kinds.sleepy"
    return Sleepy


@pytest.fixture
def registry(monkeypatch):
    """What a test registers is gone after it."""
    from verifiers import base

    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))


async def judge(runner, use, text="good", **options):
    panel = await runner.prepare([VerifierSpec(use=use, options=options)], Check())
    judged = await runner.judge(panel, NONE, Candidate(text=text))
    return judged, judged.verdicts[0]


@pytest.mark.usefixtures("registry")
async def test_a_canary_that_passes_puts_the_verifier_out_of_use_and_marks_the_interval():
    told = []
    kind = register(sleepy("sleepy"))
    runner = Runner(canary_rate=1.0, on_canary=lambda *what: told.append(what[:3]))

    awake = [(await judge(runner, "sleepy"))[1].status for _ in range(3)]
    kind.asleep = True
    judged, verdict = await judge(runner, "sleepy")
    kind.asleep = False
    _, later = await judge(runner, "sleepy")
    await runner.close()

    assert awake == ["pass"] * 3
    assert [(v.status, v.reason) for v in (verdict, later)] == [("error", "canary_passed")] * 2
    assert judged.reward is None
    assert told == [("sleepy", True, 0)] * 3 + [("sleepy", False, 1)]
    (out,) = runner.out_of_use.values()
    assert out.verdicts == 1


@pytest.mark.usefixtures("registry")
async def test_verdicts_between_canaries_are_counted():
    kind = register(sleepy("sleepy"))
    # Draws a number under a half at the first and the sixth verdict only.
    runner = Runner(canary_rate=0.5, rng=Scripted([0.1, 0.9, 0.9, 0.9, 0.9, 0.1]))

    for _ in range(5):
        await judge(runner, "sleepy")
    kind.asleep = True
    await judge(runner, "sleepy")
    await runner.close()

    (out,) = runner.out_of_use.values()
    assert out.verdicts == 5


class Scripted(random.Random):
    def __init__(self, values: list[float]) -> None:
        super().__init__(0)
        self._values = values

    def random(self) -> float:
        return self._values.pop(0)

    def getrandbits(self, k: int) -> int:
        return 0


@pytest.mark.usefixtures("registry")
async def test_a_judge_is_put_out_of_use_with_its_rubric_only():
    kind = register(sleepy("strict", role="judge"))
    runner = Runner(canary_rate=1.0)

    kind.asleep = True
    _, fooled = await judge(runner, "strict", rubric="lenient")
    kind.asleep = False
    _, other = await judge(runner, "strict", rubric="sharp")
    await runner.close()

    assert (fooled.reason, other.status) == ("canary_passed", "pass")


async def test_without_a_rate_no_canary_is_shown():
    told = []
    runner = Runner(on_canary=lambda *what: told.append(what[:3]))

    await judge(runner, "number", "Answer: 5", reference="5")
    await runner.close()

    assert told == []


async def test_canaries_of_a_worker_are_shown_too():
    told = []
    runner = Runner(canary_rate=1.0, on_canary=lambda *what: told.append(what[:3]))

    _, verdict = await judge(runner, "json_schema", "{}", schema={"type": "object"})
    await runner.close()

    assert (verdict.status, told) == ("pass", [("json_schema", True, 0)])


def test_every_decisive_kind_of_this_table_knows_canaries():
    known = {v.name for v in known_verifiers() if hasattr(v, "canaries")}

    assert set(OPTIONS) <= known
