from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from tests.parts import ROOT
from tests.verifiers.tables import candidate_of, rows
from verifiers.base import AnswerContract, BadCheck, Candidate, Check, VerifierSpec
from verifiers.extract import extract_answer
from verifiers.run import Runner

shared_loop = pytest.mark.asyncio(loop_scope="module")


async def judge(runner, options, text, prompt="", use="math"):
    spec = VerifierSpec(use=use, options=options, param="verify.verifiers[0]")
    panel = await runner.prepare([spec], Check(prompt=prompt))
    judged = await runner.judge(panel, panel.contract, Candidate(text=text))
    return panel, judged, judged.verdicts[0]


@shared_loop
@pytest.mark.parametrize("row", [r for kind in ("math", "set", "list", "date") for r in rows(kind)])
async def test_a_candidate_gets_the_verdict_of_the_table(workers, row):
    text = candidate_of(row).text
    _, _, verdict = await judge(workers, row["options"], text, row.get("prompt", ""), row["use"])

    assert verdict.status == row["expect"], verdict
    assert verdict.reason == row.get("reason", verdict.reason)
    assert verdict.score == pytest.approx(row.get("score", verdict.score), abs=1e-3)


@shared_loop
@pytest.mark.parametrize("use", ["math", "set", "list", "date"])
async def test_without_a_reference_nothing_is_proven(workers, use):
    text = "Answer: 2024-03-05" if use == "date" else "Answer: 1, 2"

    panel, judged, verdict = await judge(workers, {}, text, use=use)

    assert (panel.decisive, verdict.status, verdict.reason) == (False, "abstain", "no_reference")
    assert judged.answer.key is not None


@shared_loop
@pytest.mark.parametrize(
    ("use", "options", "param"),
    [
        ("math", {"reference": "\\frac{1}{"}, "reference"),
        ("math", {"reference": "\\int_0^1 x dx"}, "reference"),
        ("math", {"reference": "1/2x"}, "reference"),
        ("math", {"reference": "1/0"}, "reference"),
        ("math", {"reference": "9^{9^{9}}"}, "reference"),
        ("math", {"reference": "2004!"}, "reference"),
        ("math", {"reference": "(" * 100 + "1" + ")" * 100}, "reference"),
        ("math", {"reference": "9" * 257}, "reference"),
        ("math", {"reference": "+".join(["x"] * 5_000)}, "reference"),
        ("math", {"reference": "1\u200b2"}, "reference"),
        ("math", {"reference": ""}, "reference"),
        ("math", {"reference": True}, "reference"),
        ("math", {"reference": ["1"]}, "reference"),
        ("math", {"reference": "1", "percent": "maybe"}, "percent"),
        ("math", {"reference": "1", "units": []}, "units"),
        ("math", {"reference": "1", "order": None}, "order"),
        ("math", {"reference": "1", "form": "raw"}, "form"),
        ("math", {"reference": "1", "extract": "best"}, "extract"),
        ("math", {"reference": "1", "extract": "json:answer"}, "extract"),
        ("math", {"reference": "1", "extract": "tag:a b"}, "extract"),
        ("number", {"reference": "1", "extract": "json:"}, None),
        ("number", {"reference": "1", "extract": 3}, "extract"),
        ("number", {"reference": "1", "percent": "both"}, "percent"),
        ("set", {"reference": []}, "reference"),
        ("set", {"reference": [[1]]}, "reference[0]"),
        ("set", {"reference": "1,,2"}, "reference"),
        ("set", {"reference": {"a": 1}}, "reference"),
        ("set", {"separator": "x" * 9}, "separator"),
        ("set", {"partial": True}, "partial"),
        ("list", {"reference": [1, 2], "partial": 0.5}, "partial"),
        ("list", {"order": "desc"}, "order"),
        ("list", {"dedup": "yes"}, "dedup"),
        ("date", {"reference": "03/05/2024"}, "reference"),
        ("date", {"reference": 2024}, "reference"),
        ("date", {"day_order": "ymd"}, "day_order"),
    ],
    ids=lambda value: ascii(value)[:50],
)
async def test_a_bad_option_is_refused_with_its_full_path(workers, use, options, param):
    spec = VerifierSpec(use=use, options=options, param="verify.verifiers[1]")
    if param is None:
        await workers.prepare([spec], Check())
        return

    with pytest.raises(BadCheck) as refused:
        await workers.prepare([spec], Check())

    assert refused.value.param == f"verify.verifiers[1].{param}"
    assert 0 < len(refused.value.message) < 600


@shared_loop
async def test_the_verdict_tells_what_each_engine_said(workers):
    _, _, verdict = await judge(workers, {"reference": "\\pi"}, "\\boxed{3.14159265358979}")

    assert verdict.evidence["engines"] == {"strict": "different", "math_verify": "equal"}


ALONE = """
import json, sys
sys.modules["math_verify"] = None  # as if it were not installed
from verifiers.base import AnswerContract, Candidate, Check, get_verifier
from verifiers.extract import extract_answer

kind, said = get_verifier("math"), {}
prepared = kind.prepare({"reference": "2\\\\sqrt{3}"}, Check())
for text in ("\\\\sqrt{12}", "\\\\sqrt{13}", "2\\\\sqrt{3}"):
    candidate = Candidate(text="\\\\boxed{%s}" % text)
    finding = kind.verify(prepared, candidate, extract_answer(candidate, prepared.contract))
    said[text] = [finding.status, finding.reason]
print(json.dumps(said))
"""


def test_without_the_second_engine_a_formula_is_abstained_from():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    said = json.loads(done.stdout or "{}")
    missing = ["abstain", "second_engine_missing"]
    assert said == {
        "\\sqrt{12}": missing,
        "\\sqrt{13}": missing,
        "2\\sqrt{3}": ["pass", "equal"],
    }, done.stderr


def test_the_gateway_itself_never_loads_sympy():
    code = "import sys, app.gateway, verifiers; print('sympy' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert done.stdout.strip() == "False", done.stderr


def families():
    """Bombs by family and size: name → text."""
    for size in (3, 30, 300):
        yield f"tower of {size}", "9^{" * size + "9" + "}" * size
        yield f"power of {size} digits", "2^{" + "9" * size + "}"
        yield f"factorial of {size} digits", "9" * size + "!"
        yield f"{size} factorials", "9" + "!" * size
        yield f"binomial of {size} digits", f"\\binom{{{'9' * size}}}{{{'4' * size}}}"
        yield f"{size} brackets", "(" * size + "1" + ")" * size
        yield f"{size} fractions", "\\frac{1}{1+" * size + "x" + "}" * size
        yield f"{size} roots", "\\sqrt{1+" * size + "x" + "}" * size
        yield f"sum of {size} roots", "+".join(f"\\sqrt{{{n}}}" for n in range(2, size + 2))
        yield (
            f"one over {size} roots",
            f"\\frac{{1}}{{{'+'.join(f'√{n}' for n in range(2, size))}}}",
        )
        yield f"powers of {size} sums", "(" * size + "1+x" + ")^{60}" * size
        yield f"power of {size} terms", f"({'+'.join(f'x_{n}' for n in range(size))})^{{60}}"
        yield f"matrix of {size} rows", "\\begin{pmatrix}1" + "\\\\1" * size + "\\end{pmatrix}"
        yield f"set of {size}", "\\{" + ",".join(f"\\sqrt{{{n}x}}" for n in range(size)) + "\\}"
        yield f"{size} exponentials", "e^{" * size + "x" + "}" * size
        yield f"{size} sines", "\\sin(" * size + "9^{99}" + ")" * size
        yield f"quotient of power {size}", f"\\frac{{(x+1)^{{{size}}}}}{{(y+z+1)^{{{size}}}}}"


BOMBS = dict(families())


async def test_bombs_never_pass_and_the_loop_turns_on():
    """All at once, as samples of one request; the deadline is what ends the worst of them."""
    runner = Runner(deadline_ms=1_000, workers=2)
    turns = 0

    async def turn():
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    spec = VerifierSpec(use="math", options={"reference": "x^2 + \\sqrt{3}"})
    panel = await runner.prepare([spec], Check())
    turning = asyncio.create_task(turn())
    texts = [f"\\boxed{{{bomb}}}" for bomb in BOMBS.values()]
    judged = await asyncio.gather(
        *(runner.judge(panel, panel.contract, Candidate(text=text)) for text in texts)
    )
    honest = await runner.judge(panel, panel.contract, Candidate(text="\\boxed{\\sqrt{3}+x^2}"))
    turning.cancel()
    await runner.close()

    passed = [name for name, one in zip(BOMBS, judged, strict=True) if one.verdicts[0].score]
    assert passed == []
    assert honest.verdicts[0].status == "pass", honest.verdicts
    assert turns > len(BOMBS)


PIECES = [
    "$", "$$", "\\(", "\\[", "\\boxed{", "\\boxed{\\boxed{", "<answer>", "```\n", "- a\n", "1. a\n",
    "answer: ", " ", "and ", ", ", "{", "\\frac{", "9", "√", "²", "1/2/", "12 may ", "\\text{",
    "$a$ ", "#### 1\n", "\\boxed{1}", "<think>", "</think>", "{\"a\": ",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES, ids=ascii)
@pytest.mark.parametrize("kind", ["math", "set", "list", "date"])
def test_a_text_that_only_repeats_commits_to_nothing_or_to_one_thing(kind, piece):
    text = piece * (40_000 // len(piece))

    for rule in ("auto", "tagged", "last_fence", "json:/a"):
        answer = extract_answer(Candidate(text=text), AnswerContract(kind=kind, rule=rule))
        assert (answer.key is None) is (answer.reason != "")


def test_equal_values_in_different_spellings_are_one_camp():
    """Field case pc-011, with the answer type that it names."""
    texts = [
        "so the value is \\boxed{0.5}",
        "hence \\boxed{\\frac{1}{2}}",
        "thus \\boxed{\\dfrac12}",
        "The answer is 1/2.",
        "it must be \\boxed{\\frac{2}{3}}",
        "I get \\boxed{\\frac{2}{3}}",
    ]

    keys = [extract_answer(Candidate(text=t), AnswerContract(kind="math")).key for t in texts]

    assert keys == ["1/2"] * 4 + ["2/3"] * 2


@pytest.mark.parametrize(
    ("rule", "text", "key"),
    [
        ("json:/a/1/b", '{"a": [0, {"b": "1/2"}]}', "1/2"),
        ("json:/a", 'Here:\n```json\n{"a": 0.5}\n```', "1/2"),
        ("json:/a/*", '{"a": [0.5, 0.50]}', "1/2"),
        ("json:/a/*", '{"a": [1, 2]}', None),
        ("json:/a", '{"b": 1}', None),
        ("json:/a", '{"a": 1, "a": 2}', None),
        ("json:/a", "no JSON", None),
        ("tagged", "<answer>1</answer><answer>1.0</answer>", "1"),
        ("tagged", "<answer>1</answer><answer>2</answer>", None),
        ("tagged", "<answer>1", None),
        ("tagged", "<Answer>\n7\n</Answer>", "7"),
        ("tag:final", "<answer>1</answer><final>2</final>", "2"),
        ("last_fence", "```\n1\n```\ntext\n```py\n2\n```", "2"),
    ],
)
@pytest.mark.parametrize("kind", ["number", "math"])
def test_a_named_place_is_the_only_one_looked_at(kind, rule, text, key):
    contract = AnswerContract(kind=kind, rule=rule)

    answer = extract_answer(Candidate(text=f"<think>5</think>{text}"), contract)

    assert answer.key == key, answer
    assert (answer.key is None) is (answer.reason != "")


@pytest.mark.parametrize(
    "text",
    [
        "<think>\\boxed{4}</think>\\boxed{3}",
        "\\boxed{4}</thinking> \\boxed{3}",
        "[THINK]\\boxed{4}[/THINK]\\boxed{3}",
        "◁think▷\\boxed{4}◁/think▷\\boxed{3}",
        "<seed:think>\\boxed{4}</seed:think>\\boxed{3}",
        "<|channel|>analysis<|message|>\\boxed{4}<|end|><|channel|>final<|message|>\\boxed{3}",
    ],
)
def test_nothing_of_the_thinking_part_counts(text):
    assert extract_answer(Candidate(text=text), AnswerContract(kind="math")).key == "3"


STARTS = ["<think>", "[THINK]", "◁think▷", "<|channel|>analysis<|message|>"]


@pytest.mark.parametrize("start", STARTS)
def test_a_text_that_is_still_thinking_has_no_answer(start):
    answer = extract_answer(Candidate(text=f"{start}\\boxed{{3}}"), AnswerContract(kind="math"))

    assert answer.reason == "unfinished_thinking"
