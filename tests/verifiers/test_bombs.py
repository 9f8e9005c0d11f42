"""Work that would freeze a gateway if it ran in it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.verifiers.waiting import is_gone
from verifiers.base import AnswerContract, BadCheck, Candidate, Check, ToolCall, VerifierSpec
from verifiers.run import Runner


def doubling_refs(levels: int) -> dict[str, object]:
    """A schema in which every definition asks for the next one twice."""
    defs: dict[str, object] = {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$defs": {**defs, f"d{levels}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


class Ticks:
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            self.count += 1


@asynccontextmanager
async def ticking():
    ticks = Ticks()
    task = asyncio.create_task(ticks.run())
    yield ticks
    task.cancel()


@pytest.fixture
async def runner():
    runner = Runner(deadline_ms=1_000)
    yield runner
    pids = runner.worker_pids
    await runner.close()
    assert all(map(is_gone, pids))


BOMBS = {
    "ref chain": (doubling_refs(40), "1"),
    "unique items": ({"uniqueItems": True}, "[" + ",".join(["[1.5]"] * 90_000) + "]"),
    "catastrophic pattern": ({"pattern": "^(a+)+$"}, '"' + "a" * 90_000 + '!"'),
    "deep JSON": ({"type": "integer"}, "[" * 900_000),
    "deep closed JSON": ({"type": "integer"}, "[" * 400_000 + "]" * 400_000),
    "quotes": ({"type": "integer"}, '"' + '\\"' * 400_000),
    "10 MB answer": ({"type": "integer"}, '"' + "x" * 10_000_000 + '"'),
    "endless number": ({"type": "integer"}, "9" * 900_000),
    "huge exponent": ({"type": "integer"}, "1e999999999"),
}


@pytest.mark.parametrize(("schema", "text"), BOMBS.values(), ids=BOMBS)
async def test_a_bomb_is_an_error_or_a_fail_while_the_loop_runs_on(runner, schema, text):
    panel = await runner.prepare(
        [VerifierSpec(use="json_schema", options={"schema": schema})], Check()
    )

    async with ticking() as ticks:
        judged = await runner.judge(panel, panel.contract, Candidate(text=text))
        (verdict,) = judged.verdicts
        quick = verdict.run_ms < 50
        assert verdict.status in ("error", "fail"), verdict
        assert quick or ticks.count > 5


async def test_a_bomb_in_a_schema_is_a_bad_check(runner):
    heavy = {"allOf": [{"pattern": f"(a{{1,500}}){{1,200}}{i}"} for i in range(3_000)]}
    spec = VerifierSpec(use="json_schema", options={"schema": heavy}, param="verify.verifiers[0]")

    async with ticking() as ticks:
        with pytest.raises(BadCheck) as refused:
            await runner.prepare([spec], Check())
        turns = ticks.count

    assert refused.value.param.startswith("verify.verifiers[0]")
    assert turns > 5


async def test_a_bottomless_schema_is_a_bad_check(runner):
    schema: dict[str, object] = {}
    for _ in range(5_000):
        schema = {"not": schema}

    with pytest.raises(BadCheck):
        await runner.prepare([VerifierSpec(use="json_schema", options={"schema": schema})], Check())


async def test_bombs_one_after_another_do_not_use_up_the_workers(runner):
    bomb = VerifierSpec(use="json_schema", options={"schema": doubling_refs(40)})
    honest = VerifierSpec(use="json_schema", options={"schema": {"type": "integer"}})
    panels = [await runner.prepare([spec], Check()) for spec in (bomb, honest)]

    contract = AnswerContract(kind="json")
    bombs = [runner.judge(panels[0], contract, Candidate(text="1")) for _ in range(5)]
    judged = [*await asyncio.gather(*bombs)]
    judged.append(await runner.judge(panels[1], contract, Candidate(text="1")))

    assert [j.verdicts[0].status for j in judged] == ["error"] * 5 + ["pass"]


async def test_tool_arguments_are_as_contained_as_texts(runner):
    parameters = {"type": "object", "properties": {"x": doubling_refs(40)["$defs"]["d0"]}}
    parameters["$defs"] = doubling_refs(40)["$defs"]
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    check = Check(tools=(tool,))
    panel = await runner.prepare([VerifierSpec(use="tool_calls")], check)

    statuses = []
    for arguments in ('{"x": 1}', "[" * 900_000, '{"x": ' + "9" * 5_000 + "}"):
        call = ToolCall(id="1", name="f", arguments=arguments)
        judged = await runner.judge(panel, panel.contract, Candidate(text="", tool_calls=(call,)))
        statuses.append(judged.verdicts[0].status)

    assert statuses == ["error", "fail", "fail"]


TEXTS = ["[", "9", "\\boxed{", "answer: ", "the answer is ", "\n", "1/", "1,", "(A) ", "answer to "]


@pytest.mark.parametrize("piece", TEXTS, ids=ascii)
@pytest.mark.parametrize("kind", ["number", "choice", "text", "calculator"])
async def test_inline_kinds_fail_a_text_that_only_repeats(runner, kind, piece):
    reference = {"number": "5", "choice": "B", "text": "x"}.get(kind)
    options = {"reference": reference} if reference else {"expression": "2 + 3"}
    panel = await runner.prepare([VerifierSpec(use=kind, options=options)], Check())

    text = piece * (40_000 // len(piece))
    judged = await runner.judge(panel, panel.contract, Candidate(text=text))

    assert judged.verdicts[0].status == "fail"
