"""`verivote drift` as a person runs it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import drift
from app.errors import StoreError
from tests.retrain.moving import HOUR_S, traffic, write_log

DAY_S = 24 * HOUR_S


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of longer prompts after a day of others."""
    folder, now = tmp_path_factory.mktemp("drift"), time.time()
    groups = [*traffic(now - DAY_S, hours=20), *traffic(now, hours=20, long=True)]
    url = f"sqlite+aiosqlite:///{folder / 'verivote.db'}"
    asyncio.run(write_log(url, folder, groups, now))
    return folder


def invoke(*arguments: str) -> str:
    """Standard output. Raises what the command raised."""
    result = CliRunner().invoke(drift.cli, list(arguments))
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_moved_is_marked_line_by_line(data: Path) -> None:
    head, first, *others = invoke("--days", "1", "--before", "1", "--data", str(data)).splitlines()

    assert head.count("(80 groups)") == 2
    assert first.startswith("prompt_chars  ")
    assert first.endswith("DRIFT")
    assert not any(line.endswith("DRIFT") for line in others)


def test_json_has_the_windows_and_each_property(data: Path) -> None:
    told = json.loads(invoke("--days", "1", "--before", "1", "--json", "--data", str(data)))

    assert told["drifted"] == ["prompt_chars"]
    assert told["after"]["until"] - told["before"]["since"] == pytest.approx(2 * DAY_S)
    assert {row["name"]: row["band"] for row in told["moved"]}["prompt_chars"] == "major"


def test_an_engine_without_traffic_has_nothing_to_compare(data: Path) -> None:
    said = invoke("--engine", "other", "--data", str(data))

    assert said.count("(0 groups)") == 2
    assert "too few groups" in said


def test_a_machine_without_a_log_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there are no traces yet"):
        invoke("--data", str(tmp_path))
