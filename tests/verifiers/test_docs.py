from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.parts import ROOT
from verifiers.base import AnswerContract, get_verifier, known_verifiers
from verifiers.extract import _rules
from verifiers.specs import WEIGHT

PAGE = (ROOT / "docs/verifiers.md").read_text(encoding="utf-8")
BUILT_IN = tuple(
    verifier.name
    for verifier in known_verifiers()
    if type(verifier).__module__.startswith("verifiers.kinds.")
)


def test_every_option_of_every_built_in_verifier_is_documented():
    wanted = {
        (name, option, meaning)
        for name in BUILT_IN
        for option, meaning in get_verifier(name).options.items()
    }

    found = set(re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE))
    assert found == wanted
    assert f"`{WEIGHT}`" in PAGE


def test_every_built_in_verifier_has_its_line():
    told = re.findall(r"^\| [^|]+ \| `(\w+)` \| (?:no|when|from)", PAGE, re.MULTILINE)

    assert sorted(told) == list(BUILT_IN)


@pytest.mark.parametrize("kind", ["number", "math", "choice", "text", "set", "list", "date"])
def test_the_rules_of_a_kind_are_documented_in_their_order(kind):
    (line,) = re.findall(rf"^\| {kind} \| (.+) \|$", PAGE, re.MULTILINE)

    rules = list(_rules(AnswerContract(kind=kind)))
    assert sorted(rules, key=lambda rule: line.index(f"`{rule}`")) == rules


def test_what_a_schema_pass_proves_is_said():
    assert "whether the values are true" in PAGE


ASK = """
import asyncio
from verifiers.base import Candidate, Check, VerifierSpec
from verifiers.run import Runner

async def main():
    runner = Runner(plugins=("palindrome",))
    panel = await runner.prepare([VerifierSpec(use="palindrome")], Check())
    for text in ("Anna", "Otto.", "Paris"):
        judged = await runner.judge(panel, panel.contract, Candidate(text=text))
        print(judged.verdicts[0].status, judged.verdicts[0].decisive)
    await runner.close()

asyncio.run(main())
"""


def test_the_example_verifier_runs(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "palindrome.py").write_text(example, encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ASK],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.stdout.splitlines() == ["pass True", "pass True", "fail True"], done.stderr
