from __future__ import annotations

import json
import time

import pytest

from tests.parts import ROOT
from verifiers.base import AnswerContract, BadCheck, Candidate, Check, VerifierSpec
from verifiers.equations import MAX_CHARS, find_steps
from verifiers.run import Runner

shared_loop = pytest.mark.asyncio(loop_scope="module")

LINES = (ROOT / "tests/cases/steps.jsonl").read_text(encoding="utf-8").splitlines()
CASES = [pytest.param(row, id=ascii(row["completion"])[1:50]) for row in map(json.loads, LINES)]


async def judge(runner: Runner, text: str, **options: object):
    panel = await runner.prepare([VerifierSpec(use="steps", options=options, param="v")], Check())
    judged = await runner.judge(panel, AnswerContract(), Candidate(text=text))
    return judged, judged.verdicts[0]


@pytest.mark.parametrize("row", CASES)
@shared_loop
async def test_the_steps_of_a_text_are_recomputed(workers, row):
    _, verdict = await judge(workers, row["completion"], **row.get("options", {}))

    assert list(verdict.steps or ()) == row["steps"], verdict
    expected = "fail" if 0 in row["steps"] else "pass" if row["steps"] else "abstain"
    assert verdict.status == expected


@shared_loop
async def test_the_first_wrong_step_is_named_and_the_score_is_the_share_of_right_ones(workers):
    judged, verdict = await judge(workers, "1 + 1 = 2. 2 * 3 = 7. 7 - 1 = 6. 6 / 4 = 2.")

    assert verdict.evidence["first_wrong"] == {
        "step": "2 * 3 = 7",
        "number": 2,
        "is": "6",
        "said": "7",
    }
    assert (verdict.score, verdict.steps) == (0.5, (1.0, 0.0, 1.0, 0.0))
    assert (verdict.role, verdict.decisive, judged.reward) == ("process", False, None)


@pytest.mark.parametrize(
    "text",
    [
        "So 1 + 1 = 2|. Then 2 * 3 = 7|, and that is it.",
        "\n <think>2 + 2 = 5</think>\n\n1 + 1 = 2 apples|.\n",
        "Chained: 2 + 3 = 4 + 1| = 5|.",
        r"\\( \frac{6}{2} = 3| \\) and **2 \times 4 = \\$9|**, then €4 − 1 = 3|.",
        "Five times 4 = 20. - 5 multiplied by 4 = 21|",
        "3 + 4\n= 7|\nNext: 50% of 8 = 4|",
        "He pays 2*3=<<2*3=6>>6 dollars|.",
        "In all <<48/2=24|>>twenty-four 𝄞. And 1 + 1 = 2|. Né: 2 + 2 = 4|",
    ],
    ids=ascii,
)
@shared_loop
async def test_where_each_step_ends_is_told_in_characters_of_the_text(workers, text):
    marks = [at - n for n, at in enumerate(i for i, char in enumerate(text) if char == "|")]

    _, verdict = await judge(workers, text.replace("|", ""))

    assert sorted(verdict.step_ends or ()) == marks, verdict
    assert len(verdict.steps or ()) == len(marks)


@shared_loop
async def test_right_steps_prove_nothing(workers):
    panel = await workers.prepare([VerifierSpec(use="steps")], Check())

    assert not panel.decisive


@shared_loop
async def test_a_least_number_of_steps_can_be_asked_for(workers):
    _, few = await judge(workers, "1 + 1 = 2", min_steps=2)
    _, enough = await judge(workers, "1 + 1 = 2, 2 + 2 = 4", min_steps=2)

    assert (few.status, few.reason, enough.status) == ("fail", "too_few_steps", "pass")


@pytest.mark.parametrize(
    ("options", "param"),
    [({"rounding": True}, "rounding"), ({"min_steps": -1}, "min_steps"), ({"steps": 1}, "steps")],
)
@shared_loop
async def test_an_option_that_cannot_be_used_is_refused_by_name(workers, options, param):
    with pytest.raises(BadCheck) as refused:
        await judge(workers, "1 + 1 = 2", **options)

    assert refused.value.param == f"v.{param}"


@pytest.mark.parametrize(
    "piece", ["1+", "(", "1 = ", "1 a ", "= ", "9^", "$", "\\", "<<", "1+1=2 ", "- ", "```", "* "]
)
def test_a_text_that_only_repeats_is_read_in_linear_time(piece):
    texts = [piece * (MAX_CHARS // len(piece) // share) for share in (4, 1)]
    took = []
    for text in texts:
        begun = time.process_time()
        find_steps(text)
        took.append(time.process_time() - begun)

    assert took[1] < 2 or took[1] < 8 * took[0]
