from __future__ import annotations

import json

import pytest
import pytest_asyncio

from tests.parts import ROOT
from verifiers.base import BadCheck, Candidate, Check, VerifierSpec
from verifiers.code_blocks import find_program, program_key
from verifiers.run import Runner

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runner():
    runner = Runner(deadline_ms=20_000, workers=1)
    yield runner
    await runner.close()


async def judge(runner, text, *, prompt="", finish="stop", use="unit_tests", **options):
    spec = VerifierSpec(use=use, options=options, param="v[0]")
    panel = await runner.prepare([spec], Check(prompt=prompt))
    candidate = Candidate(text=text, finish_reason=finish)
    return panel, await runner.judge(panel, panel.contract, candidate)


async def verdict(runner, text, **options):
    _, judged = await judge(runner, text, **options)
    return judged.verdicts[0]


ADD = "def add(a, b):\n    return a + b\n"
STACK = """
class Stack:
    def __init__(self, *items):
        self.items = list(items)
    def push(self, item):
        self.items.append(item)
        return self
    def pop(self):
        if not self.items:
            raise IndexError("empty")
        return self.items.pop()
    def __len__(self):
        return len(self.items)
    def __iter__(self):
        return iter(list(self.items))
    def __contains__(self, item):
        return item in self.items
    def __getitem__(self, index):
        return self.items[index]
"""

FORMS = [
    ("asserts", ADD, "assert add(1, 2) == 3\nassert add('a', b='b') == 'ab'"),
    ("list", ADD, ["assert add(1, 2) == 3", "assert add([1], [2]) == [1, 2]"]),
    (
        "set_up",
        ADD,
        "cases = [(1, 2, 3), (0, 0, 0)]\nfor a, b, c in cases:\n    assert add(a, b) == c",
    ),
    ("built_on", ADD, "x = add(1, 2)\nassert x == 3\nx = add(x, x)\nassert x == 6"),
    ("function", ADD, "def test_add():\n    assert add(1, 2) == 3\n"),
    ("import", ADD, "from solution import add\n\ndef test_add():\n    assert add(1, 2) == 3\n"),
    ("import_all", ADD, "from solution import *\nassert add(1, 2) == 3\n"),
    ("module", ADD, "import solution\nassert solution.add(1, 2) == 3\n"),
    ("main", ADD, "assert add(1, 2) == 3\nif __name__ == '__main__':\n    exit(1)\n"),
    (
        "unittest",
        ADD,
        "import unittest\nclass TestAdd(unittest.TestCase):\n    def setUp(self):\n"
        "        self.one = 1\n    def test_add(self):\n"
        "        self.assertEqual(add(self.one, 2), 3)\n    def test_types(self):\n"
        "        with self.assertRaises(TypeError):\n            add(1, 'a')\n"
        "if __name__ == '__main__':\n    unittest.main()\n",
    ),
    (
        "pytest",
        ADD,
        "import pytest\n@pytest.fixture\ndef one():\n    yield 1\n"
        "@pytest.mark.parametrize('a,b', [(1, 2), (2, 1)])\n"
        "def test_add(one, a, b):\n    assert add(a, b) == one + 2\n"
        "def test_bad():\n    with pytest.raises(TypeError, match='unsupported'):\n"
        "        add(1, None)\n"
        "class TestMore:\n    def test_near(self):\n"
        "        assert add(0.1, 0.2) == pytest.approx(0.3)\n",
    ),
    ("values", ADD, [{"args": [1, 2], "expected": 3}, {"kwargs": {"a": 1, "b": 1}, "expected": 2}]),
    ("check", ADD, "def check(candidate):\n    assert candidate(1, 2) == 3\n"),
    ("check_called", ADD, "def check(f):\n    assert f(1, 2) == 3\ncheck(add)\n"),
    ("input", "a, b = map(int, input().split())\nprint(a + b)", [{"stdin": "1 2", "stdout": "3"}]),
    (
        "input_main",
        "import sys\ndef main():\n    for line in sys.stdin:\n        print(sum(map(int, "
        "line.split())), end='\\n\\n')\n    sys.exit(3)\nif __name__ == '__main__':\n    main()",
        [{"stdin": "1 2\n3 4\n", "stdout": "3\n\n7"}],
    ),
    (
        "object",
        STACK,
        "s = Stack(1)\ns.push(2)\nassert len(s) == 2\nassert s.pop() == 2\nassert 1 in s\n"
        "assert list(s) == [1]\nassert s[0] == 1\nassert s.items == [1]\nassert s.pop() == 1\n"
        "try:\n    s.pop()\n    raise AssertionError\nexcept IndexError as e:\n"
        "    assert str(e) == 'empty'\n",
    ),
    (
        "lazy",
        "def count(n):\n    while True:\n        yield n\n        n += 1\n",
        "from itertools import islice\nassert list(islice(count(3), 3)) == [3, 4, 5]\n",
    ),
    (
        "closure",
        "def adder(n):\n    return lambda x: x + n\n",
        "assert adder(3)(4) == 7\n",
    ),
    (
        "library_types",
        "from decimal import Decimal\nfrom datetime import date\nfrom collections import Counter\n"
        "def f(x):\n    return [Decimal('1.5'), date(2024, 1, 2), Counter(x)]\n",
        "from decimal import Decimal\nfrom datetime import date\n"
        "assert f('aab') == [Decimal('1.5'), date(2024, 1, 2), {'a': 2, 'b': 1}]\n",
    ),
]


@pytest.mark.parametrize(("name", "program", "tests"), FORMS, ids=[form[0] for form in FORMS])
async def test_every_form_of_tests_is_read(runner, name, program, tests):
    point = {"entry_point": "add"} if name in ("values", "check") else {}

    right = await verdict(runner, f"```python\n{program}\n```", tests=tests, **point)
    wrong = program.replace("a + b", "a - b - 1").replace("x + n", "n").replace("n += 1", "n += 2")
    wrong = wrong.replace("return self.items.pop()", "return self.items[0]")
    wrong = wrong.replace("sum(", "max(").replace("'1.5'", "'1.50001'")
    failed = await verdict(runner, f"```python\n{wrong}\n```", tests=tests, **point)

    assert (right.status, right.score, right.reason) == ("pass", 1.0, "tests_passed"), right
    assert (failed.status, failed.reason) == ("fail", "tests_failed"), failed
    assert failed.score < 1


async def test_the_score_is_the_weighted_share_and_hidden_tests_are_only_counted(runner):
    options = {
        "tests": [
            {"code": "assert add(1, 2) == 3", "weight": 3},
            {"code": "assert add(0, 0) == 1", "name": "odd"},
        ],
        "hidden_tests": ["assert add(5, 5) == 10", "assert add('secret', '') == 7"],
    }

    found = await verdict(runner, ADD, **options)

    assert (found.status, found.score) == ("fail", 4 / 6)
    told = found.evidence
    assert (told["tests"], told["passed"], told["hidden"], told["hidden_passed"]) == (2, 1, 2, 1)
    assert [failed["test"] for failed in told["failed"]] == ["assert odd.1"]
    assert "add(0, 0) → 0" in told["failed"][0]["why"]
    assert "secret" not in json.dumps(dict(told))


async def test_visible_tests_alone_do_not_make_a_pass(runner):
    options = {"tests": "assert add(1, 2) == 3", "hidden_tests": "assert add(2, 2) == 5"}

    assert (await verdict(runner, ADD, **options)).status == "fail"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("def add(a, b): return a +", "not_loaded"),
        ("def sub(a, b): return a", "not_loaded"),
        ("import numpy\ndef add(a, b): return a + b", "not_loaded"),
        ("def add(a, b):\n    while True: pass", "time_limit"),
        ("import os\ndef add(a, b): os._exit(0)", "died"),
        (
            "import random\ndef add(a, b):\n    return a + b + (random.random() < 0.7)",
            "tests_failed",
        ),
    ],
)
async def test_a_fail_says_what_happened(runner, program, reason):
    options = {"tests": "assert add(1, 2) == 3", "entry_point": "add", "time_limit_ms": 500}
    options["tests"] += "\nassert add(1, 1) == 2" * 20

    found = await verdict(runner, f"```python\n{program}\n```", **options)

    assert (found.status, found.reason) == ("fail", reason)


async def test_a_program_that_depends_on_what_was_called_before_is_flaky(runner):
    """It answers the first five calls; the second order asks differently."""
    program = (
        "seen = []\ndef add(a, b):\n    seen.append(a)\n"
        "    return a + b if seen == sorted(seen) else 0\n"
    )
    tests = "\n".join(f"assert add({n}, 1) == {n + 1}" for n in range(1, 9))

    found = await verdict(runner, program, tests=tests)

    assert (found.status, found.reason) == ("fail", "flaky")


@pytest.mark.parametrize(
    "options",
    [
        {"tests": "assert add(1, lambda: 2) == 3"},
        {"tests": "x = undefined_helper\nassert add(1, 2) == 3", "entry_point": "add", "setup": ""},
        {"tests": "import math\nmath.nothing\nassert add(1, 2) == 3"},
    ],
)
async def test_tests_that_cannot_be_run_are_an_error_and_not_a_fail(runner, options):
    if "undefined_helper" in options["tests"]:
        options = {**options, "setup": "undefined_helper = 1 / 0"}

    found = await verdict(runner, ADD, **options)

    assert (found.status, found.reason) == ("error", "tests_broken"), found
    assert found.score is None


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({}, "tests"),
        ({"tests": ""}, "tests"),
        ({"tests": 5}, "tests"),
        ({"tests": "def f(:"}, "tests[0]"),
        ({"tests": ["assert add(1) == 1", 5]}, "tests[1]"),
        ({"tests": [{"code": "x", "weight": 0}]}, "tests[0].weight"),
        ({"tests": [{"stdin": "1"}]}, "tests[0].stdout"),
        ({"tests": [{"stdin": "1", "stdout": "1", "args": []}]}, "tests[0].args"),
        ({"tests": [{"args": [1], "expected": 1}]}, "entry_point"),
        ({"tests": [{"nothing": 1}]}, "tests[0]"),
        ({"tests": "import numpy\nassert f(1)"}, "tests[0]"),
        ({"tests": "def check(candidate):\n    assert candidate(1)"}, "entry_point"),
        ({"tests": "assert f(1)", "entry_point": "f g"}, "entry_point"),
        ({"tests": "assert f(1)", "entry_point": 5}, "entry_point"),
        ({"tests": "assert f(1)", "hidden_tests": ["("]}, "hidden_tests[0]"),
        ({"tests": "assert f(1)", "setup": "("}, "setup"),
        ({"tests": "assert f(1)", "time_limit_ms": 0}, "time_limit_ms"),
        ({"tests": "assert f(1)", "time_limit_ms": True}, "time_limit_ms"),
        ({"tests": "assert f(1)", "memory_mb": 10**6}, "memory_mb"),
        ({"tests": "assert f(1)", "probes": ["f("]}, "probes[0]"),
        ({"tests": "assert f(1)", "timelimit": 5}, "timelimit"),
        ({"tests": "assert f(1)\n" * 501}, "tests"),
    ],
    ids=lambda value: ascii(value)[:50],
)
async def test_a_bad_option_is_refused_with_its_name(runner, options, param):
    with pytest.raises(BadCheck) as refused:
        await judge(runner, ADD, **options)

    assert refused.value.param == f"v[0].{param}"


async def test_programs_that_do_the_same_are_one_vote(runner):
    texts = [ADD, "def add(x, y):\n    total = y\n    total += x\n    return total\n"]
    texts.append("def add(a, b):\n    return a * b\n")

    judged = [
        (await judge(runner, text, probes=["add(2, 3)", "add(0, 7)"], entry_point="add"))[1]
        for text in texts
    ]

    keys = [each.answer.key for each in judged]
    assert keys[0] == keys[1] != keys[2]
    assert {each.verdicts[0].status for each in judged} == {"abstain"}
    assert all(key.startswith("behaviour:") for key in keys)


async def test_a_helper_that_nobody_put_under_test_is_no_proof(runner):
    """Tests that check by a function of the program itself can be bent by it."""
    tests = "assert near(add(1, 2), 3)"
    program = f"{ADD}\ndef near(a, b):\n    return True\n"

    borrowed, _ = await judge(runner, program, tests=tests, entry_point="add")
    named, _ = await judge(runner, program, tests=tests, entry_point=["add", "near"])
    oracle = {"setup": "def near(a, b):\n    return abs(a - b) < 1e-9"}
    given, judged = await judge(runner, program, tests=tests, entry_point="add", **oracle)

    assert [panel.decisive for panel in (borrowed, named, given)] == [False, True, True]
    assert judged.verdicts[0].status == "pass"


async def test_a_text_that_was_cut_has_no_program(runner):
    found = (await judge(runner, ADD, tests="assert add(1, 2) == 3", finish="length"))[1]

    assert (found.verdicts[0].status, found.verdicts[0].reason) == ("fail", "truncated")


async def test_a_completion_that_goes_on_from_the_prompt_is_a_program(runner):
    prompt = 'def add(a, b):\n    """The sum."""\n'

    found = await verdict(
        runner, "    return a + b\n", prompt=prompt, tests="assert add(1, 2) == 3"
    )

    assert (found.status, found.evidence["rule"]) == ("pass", "continuation")


@pytest.mark.parametrize(
    ("text", "names", "rule", "source"),
    [
        ("```bash\npip install x\n```\n```python\ndef f(): 1\n```", ["f"], "defining_fence", "f()"),
        ("```python\ndef f(): 1\n```\nUse:\n```python\nf(3)\n```", ["f"], "defining_fence", "1"),
        ("```\ndef f(): 1\n```\n```py\ndef f(): 2\n```", ["f"], "defining_fence", "2"),
        ("```python\nprint(1)\n```\n```\n2\n```", [], "last_fence", "2"),
        ("~~~python\ndef f(): 1\n~~~", ["f"], "defining_fence", "1"),
        ("  ```python\n  def f():\n      1\n  ```", ["f"], "defining_fence", "    1"),
        ("```python\ndef f(): 1", ["f"], "defining_fence", "1"),
        ("def f(): 1", ["f"], "whole_text", "1"),
        ("f = lambda: 1", ["f"], "whole_text", "1"),
        ("````\n```\ndef f(): 1\n````", ["f"], "defining_fence", "1"),
    ],
)
async def test_the_program_is_found_by_a_named_rule(text, names, rule, source):
    found = find_program(text, names)

    assert found is not None
    assert found.rule == rule
    assert source in found.source


async def test_prose_is_no_program():
    assert find_program("The function f returns 1.", ["f"]) is None
    assert find_program("Nothing to see.", []) is None
    assert find_program("```json\n{}\n```", []) is None
    assert program_key("x = 1\n\n# why\n") == program_key("x = 1   \n")


@pytest.mark.parametrize(
    "row",
    [
        row
        for line in (ROOT / "tests/cases/code.jsonl").read_text(encoding="utf-8").splitlines()
        if (row := json.loads(line))
    ],
    ids=lambda row: row["id"],
)
async def test_what_users_of_such_systems_reported_holds(runner, row):
    (spec,) = row["verifiers"]
    options = {key: value for key, value in spec.items() if key != "use"}

    found = await verdict(runner, row["completion"], prompt=row["prompt"], **options)

    assert found.status == row["expect"], found


PROGRAM = "total = 0\nfor n in (3, 4):\n    total += n\n"


@pytest.mark.parametrize(
    ("text", "program", "status", "reason"),
    [
        ("So it is 7.\nAnswer: 7", PROGRAM + "print(total)", "pass", "program_agrees"),
        ("Answer: 7.0", PROGRAM + "answer = total", "pass", "program_agrees"),
        ("Answer: 7", "def solution():\n    return 3 + 4", "pass", "program_agrees"),
        ("Answer: 8", PROGRAM + "print('The result is', total)", "fail", "program_disagrees"),
        ("Answer: 7", "print(1 / 0)", "abstain", "program_raised"),
        ("Answer: 7", "while True: pass", "abstain", "time_limit"),
        ("Answer: 7", "pass", "abstain", "no_number"),
        ("I cannot say.", "print(7)", "fail", "no_answer"),
        (f"```python\n{PROGRAM}print(total)\n```\nAnswer: 7", None, "pass", "program_agrees"),
        (f"```python\n{PROGRAM}print(total)\n```\nAnswer: 8", None, "abstain", "program_disagrees"),
        ("Answer: 7", None, "abstain", "no_program"),
    ],
)
async def test_a_program_is_evidence_for_a_number(runner, text, program, status, reason):
    options = {} if program is None else {"program": program}

    panel, judged = await judge(runner, text, use="program", **options)

    assert (judged.verdicts[0].status, judged.verdicts[0].reason) == (status, reason)
    assert not panel.decisive


async def test_a_program_that_is_no_text_is_refused(runner):
    with pytest.raises(BadCheck) as refused:
        await judge(runner, "7", use="program", program=7)

    assert refused.value.param == "v[0].program"
