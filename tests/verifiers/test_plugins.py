"""Verifiers of others: modules, entry points and plain functions, judged in workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifiers.base import AnswerContract, Candidate, Check, VerifierSpec
from verifiers.plugins import BadPlugin, installed_plugins, load_plugin
from verifiers.run import Runner

SOURCE = """
import os, time

def shouts(answer, reference):
    return answer == reference.upper()

def halves(answer, reference):
    return 0.5

def raises(answer, reference):
    raise RuntimeError("broken")

def rubbish(answer, reference):
    return "pass"

def infinite(answer, reference):
    return float("inf")

def hangs(answer, reference):
    time.sleep(60)

def leaves(answer, reference):
    os._exit(0)

NUMBER = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own_checks.py"
    path.write_text(SOURCE)
    return path


async def judged(file: Path, name: str, text: str = "HELLO", **options: object):
    runner = Runner(deadline_ms=1_500, workers=1, plugins=(f"{file}:{name}",))
    try:
        spec = VerifierSpec(use=name, options=options, param="verify.verifiers[0]")
        panel = await runner.prepare([spec], Check())
        found = await runner.judge(panel, AnswerContract(), Candidate(text=text))
    finally:
        await runner.close()
    return panel, found.verdicts[0]


async def test_a_plain_function_of_a_file_is_a_verifier_under_its_name(file):
    panel, right = await judged(file, "shouts", reference="hello")
    _, wrong = await judged(file, "shouts", text="Hello", reference="hello")

    assert (right.verifier, right.status, right.score) == ("shouts", "pass", 1.0)
    assert (wrong.status, wrong.score) == ("fail", 0.0)
    assert panel.decisive


async def test_its_pass_proves_nothing_without_a_reference(file):
    panel, _ = await judged(file, "halves")

    assert not panel.decisive


async def test_the_least_score_of_a_pass_is_an_option(file):
    _, default = await judged(file, "halves")
    _, lower = await judged(file, "halves", pass_at=0.5)

    assert (default.status, lower.status) == ("fail", "pass")


@pytest.mark.parametrize("name", ["raises", "rubbish", "infinite", "hangs", "leaves"])
async def test_a_function_that_breaks_is_an_error_and_never_a_pass(file, name):
    _, verdict = await judged(file, name, reference="hello")

    assert verdict.status == "error"
    assert verdict.reason


@pytest.mark.parametrize(
    ("plugin", "says"),
    [
        ("no_such_module", "ModuleNotFoundError"),
        ("no_such_file.py:check", "FileNotFoundError"),
        ("{file}:missing", "no function or class 'missing'"),
        ("{file}:NUMBER", "no function or class 'NUMBER'"),
        ("pathlib:Path", "no verifier"),
    ],
)
def test_what_cannot_be_loaded_is_named_with_the_reason(file, plugin, says):
    named = plugin.format(file=file)

    with pytest.raises(BadPlugin, match=says) as refused:
        load_plugin(named)
    assert named in str(refused.value)


def test_an_installed_distribution_names_its_verifiers_by_entry_point(tmp_path):
    info = tmp_path / "own_checks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-checks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[verivote.verifiers]\nshouts = own_checks:shouts\n")

    assert installed_plugins([str(tmp_path)]) == ("own_checks:shouts",)
