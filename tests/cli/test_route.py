"""`verivote route`, beside a gateway or without one: the whole command, in this process."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.group import Group
from app.learning import Learning
from app.routing.features import read_grams
from app.routing.gate import MIN_LABELS
from app.settings import RoutingSettings
from app.store import schema
from app.store.database import open_engine
from tests.labelled_groups import EVERY_S, planted_groups, put, unchecked, word_on
from tests.routing.planted import easy_prompt
from tests.store.conftest import Clock
from tests.store.groups import START

EASY = "Ann has 5 apples and buys 7 more. How many apples does Ann have?"
HARD = "In how many ways can Bob arrange 9 coins in a circle so that no 2 neighbours are alike?"
FEW = 30
ENOUGH = MIN_LABELS + 60


def learned_from(data: Path, *lessons: Sequence[Group]) -> str:
    """A data folder in which a gateway has learned each lesson in a turn; its `--data`."""

    async def run() -> None:
        url = f"sqlite+aiosqlite:///{data / 'verivote.db'}"
        await schema.upgrade(url)
        engine = open_engine(url)
        learning = Learning(engine, RoutingSettings(), deadline_ms=1000, clock=Clock(START + 10**6))
        for lesson in lessons:
            judged = [group for group in lesson if not group.plan.verifiers]
            await put(engine, *lesson, words=[word_on(group, "right") for group in judged])
            await learning.turn()
        await engine.dispose()

    asyncio.run(run())
    return str(data)


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the score of the route `default` decides."""
    data = tmp_path_factory.mktemp("decided")
    (data / "verivote.toml").write_text(
        '[engines.main]\nbase_url = "http://x/v1"\nmodel = "smol"\n'
    )
    return learned_from(data, [unchecked(group) for group in planted_groups(ENOUGH)])


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def route(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`route("ls")` runs `verivote route ls`."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["verivote", "route", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return Done(int(ended.value.code or 0), shown.out, shown.err)

    return run


@pytest.fixture
def told(route: Command) -> Callable[..., Any]:
    """What it prints as JSON."""

    def ask(*arguments: str) -> Any:
        done = route(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


Told = Callable[..., Any]


def explained(told: Told, data: str, prompt: str, *more: str) -> Any:
    config = str(Path(data) / "verivote.toml")
    return told("explain", prompt, "--data", data, "--config", config, *more)


def test_explain_needs_neither_a_gateway_nor_a_database(route: Command, tmp_path: Path) -> None:
    done = route("explain", "What is 17 * 24?", "--data", str(tmp_path / "none"))

    assert done.returncode == 0
    assert "hard: 3 samples at first, 16 at most, stop rule margin" in done.stdout
    assert "verifiers   calculator" in done.stdout
    assert "learned     nothing yet" in done.stdout
    assert "router: cold" in done.stdout
    assert not (tmp_path / "none").exists()


def test_explain_shows_the_plan_both_scores_and_the_words(told: Told, decided: str) -> None:
    draw = random.Random(1)
    easy = [explained(told, decided, easy_prompt(draw)) for _ in range(10)]
    hard = explained(told, decided, HARD)

    assert {e["plan"]["route"] for e in easy} == {"easy", "hard"}
    for each in (*easy, hard):
        is_easy = each["learned"]["rank"] < each["learned"]["share"]
        assert each["plan"]["first_round"] == (1 if is_easy else 3)
        assert (each["plan"]["route"] == "easy") == is_easy
    assert hard["plan"]["route"] == "hard"
    assert hard["learned"]["expected_gain"] > max(e["learned"]["expected_gain"] for e in easy)
    assert (hard["learned"]["standing"], hard["learned"]["labels"]) == ("learned", ENOUGH)
    words = {word["name"] for word in hard["learned"]["words"]}
    assert words
    assert words <= {text for text, _ in read_grams(HARD)}


def test_the_parts_add_up_to_the_score(told: Told, decided: str) -> None:
    parts = explained(told, decided, HARD)["learned"]
    logit = sum(part["contribution"] for part in parts["parts"])

    assert parts["score"] == pytest.approx(1 / (1 + 2.718281828**-logit), abs=0.01)


def test_explain_follows_the_routes_and_the_requests_own_options(
    told: Told, decided: str, tmp_path: Path
) -> None:
    config = tmp_path / "verivote.toml"
    config.write_text(
        '[engines.main]\nbase_url = "http://x/v1"\nmodel = "smol"\n'
        '[[routes]]\nname = "maths"\nmatch = { metadata = { topic = "maths" } }\neffort = "high"\n'
    )
    arguments = ("--data", decided, "--config", str(config))

    matched = told("explain", EASY, "--metadata", "topic=maths", *arguments)
    asked = told("explain", EASY, "--verify", '{"mode": "always", "n": 5}', *arguments)

    assert (matched["plan"]["route_name"], matched["plan"]["cap"]) == ("maths", 40)
    assert matched["learned"] is None
    assert (asked["plan"]["route"], asked["plan"]["cap"]) == ("hard", 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--verify", "{"), "--verify is not a JSON object"),
        (("--verify", '{"mode": "maybe"}'), "verify.mode"),
        (("--metadata", "topic"), "--metadata is written KEY=VALUE"),
        (("--verify", '{"verifiers": [{"use": "nubmer"}]}'), "number"),
    ],
)
def test_explain_says_what_is_wrong(
    route: Command, tmp_path: Path, arguments: Sequence[str], message: str
) -> None:
    done = route("explain", EASY, *arguments, "--data", str(tmp_path))

    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_ls_lists_the_routes_and_the_versions_of_one(
    route: Command, told: Told, tmp_path: Path
) -> None:
    lesson = list(planted_groups(FEW))
    more = list(planted_groups(FEW, start=START + FEW * EVERY_S, seed=1))
    data = learned_from(tmp_path, lesson, more)

    (row,) = told("ls", "--data", data)
    versions = told("ls", "--route", "default", "--data", data)
    plain = route("ls", "--data", data).stdout.split("\t")

    assert (row["route"], row["version"], row["labels"]) == ("default", 2, 2 * FEW)
    assert (row["standing"], row["trees"], row["policy"]) == ("shadow", False, "smol")
    assert [(v["version"], v["labels"]) for v in versions] == [(2, 2 * FEW), (1, FEW)]
    assert plain[0] == "default"


def test_use_makes_an_earlier_version_the_newest(told: Told, tmp_path: Path) -> None:
    lesson = list(planted_groups(FEW))
    more = list(planted_groups(FEW, start=START + FEW * EVERY_S, seed=1))
    data = learned_from(tmp_path, lesson, more)

    used = told("use", "default", "1", "--data", data)
    learned_from(tmp_path, [])

    assert used == {"route": "default", "used": 1, "version": 3}
    versions = told("ls", "--route", "default", "--data", data)
    assert [(v["version"], v["labels"]) for v in versions] == [(3, FEW), (2, 2 * FEW), (1, FEW)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("use", "default", "9"), "route 'default' has no version 9; kept are 1"),
        (("use", "nope", "1"), "route 'nope' has no version 1; it has learned nothing yet"),
        (("ls", "--route", "nope"), "route 'nope' has learned nothing yet"),
        (("fit", "--route", "nope"), "there are no labelled groups of route 'nope'"),
    ],
)
def test_what_is_not_there_is_said(
    route: Command, tmp_path: Path, arguments: Sequence[str], message: str
) -> None:
    data = learned_from(tmp_path, list(planted_groups(5)))
    done = route(*arguments, "--data", data)

    assert done.returncode == 1
    assert message in done.stderr


def test_without_a_database_the_exit_code_says_unavailable(route: Command, tmp_path: Path) -> None:
    done = route("ls", "--data", str(tmp_path))

    assert done.returncode == 3
    assert "there are no traces yet" in done.stderr


def test_fit_learns_the_log_anew_and_says_what_came_of_it(told: Told, tmp_path: Path) -> None:
    data = learned_from(tmp_path, list(planted_groups(ENOUGH)))

    (tried,) = told("fit", "--dry-run", "--data", data)
    assert len(told("ls", "--route", "default", "--data", data)) == 1

    (done,) = told("fit", "--data", data)
    assert (done["labels"], done["rows"], done["version"]) == (ENOUGH, ENOUGH, 2)
    assert done["auc_online"] > 0.65
    assert done["auc_trees"] > 0.65
    assert {**done, "version": None} == tried
    (row,) = told("ls", "--data", data)
    assert (row["version"], row["labels"], row["trees"]) == (2, ENOUGH, done["trees"])
