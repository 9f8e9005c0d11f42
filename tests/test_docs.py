"""Documentation that is not true fails here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from app.cli import cli
from tests.cli.command import environment
from tests.parts import ROOT, require

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN_AT = "http://127.0.0.1:8080"


def blocks(language: str, page: str = "README.md") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_generated_pages_are_up_to_date():
    command = [sys.executable, str(ROOT / "docs/generate.py"), "--check"]

    done = subprocess.run(command, env=environment(), capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_docs_leads_somewhere(page):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_readme_starts_with_the_two_commands():
    first = blocks("")[0].splitlines()

    assert [line.split("#")[0].strip() for line in first] == ["make demo", "make test"]


def test_every_make_target_that_the_docs_name_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for page in PAGES
        for name in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }

    assert named - targets == set()


@pytest.mark.embedded
def test_the_readmes_python_runs(gateway, tmp_path):
    (code,) = blocks("python")
    script = tmp_path / "readme.py"
    script.write_text(code.replace(WRITTEN_AT, gateway(None).url), encoding="utf-8")

    done = subprocess.run([sys.executable, script], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    text, told = done.stdout.strip().rsplit("\n", 1)
    assert text
    assert re.fullmatch(r"(verified|agreed|unverified) \{.*\} chatcmpl-\w{26}", told)


@pytest.mark.embedded
def test_the_readmes_curl_line_runs(gateway):
    require(shutil.which("curl"), "curl is missing: install it with the system's packages")
    (code,) = (block for block in blocks("bash") if block.startswith("curl"))

    done = subprocess.run(
        ["sh", "-ec", code.replace(WRITTEN_AT, gateway(None).url)], capture_output=True, text=True
    )

    assert '"verification":{"status":"' in done.stdout


def test_every_verivote_command_in_the_docs_is_understood():
    """Its help is asked for, so that nothing is started."""
    lines = {
        match.strip()
        for page in PAGES
        for match in re.findall(r"`verivote ([a-z][^`]*)`", page.read_text(encoding="utf-8"))
    }
    words = {tuple(re.match(r"[a-z]+( [a-z]+(?= |$))?", line)[0].split()) for line in lines}
    runner = CliRunner()
    failed = [
        " ".join(path)
        for path in sorted(words)
        if runner.invoke(cli, [*path, "--help"]).exit_code != 0
    ]

    assert failed == []
