"""`verivote db` as a person runs it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from app.store.schema import REVISIONS
from tests.cli.command import verivote
from tests.postgres import free_port


def test_an_empty_database_is_upgraded_and_then_fits(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "new"))

    before = verivote("db", "check", *data)
    upgraded = verivote("db", "upgrade", *data)
    after = verivote("db", "check", *data, "--json")
    current = verivote("db", "current", *data)

    assert (before.returncode, upgraded.returncode, after.returncode) == (1, 0, 0)
    assert before.stdout == "the database has no tables yet; run `verivote db upgrade`\n"
    assert upgraded.stdout == f"schema {REVISIONS[-1]}\n"
    assert json.loads(after.stdout) == {"state": "current", "needed": REVISIONS[-1]}
    assert current.stdout == f"{REVISIONS[-1]}\n"


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))

    done = [verivote("db", "upgrade", *data, "--json") for _ in range(2)]

    assert [json.loads(d.stdout) for d in done] == [{"schema": REVISIONS[-1]}] * 2


def test_looking_at_no_database_makes_none(tmp_path: Path) -> None:
    done = verivote("db", "current", "--data", str(tmp_path))

    assert (done.returncode, done.stdout) == (0, "no tables yet\n")
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_refused_in_one_line(tmp_path: Path) -> None:
    verivote("db", "upgrade", "--data", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "verivote.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()

    done = verivote("db", "upgrade", "--data", str(tmp_path))

    assert done.returncode == 2
    assert done.stderr.startswith("verivote: the database has schema '9999'")
    assert done.stderr.count("\n") == 1


def test_a_database_that_is_away_is_exit_code_3(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none"

    for name in ("upgrade", "current", "check"):
        done = verivote("db", name, "--data", str(tmp_path), VERIVOTE__STORE__URL=url)
        assert done.returncode == 3
        assert done.stderr.startswith("verivote: the database cannot be used")
        assert done.stderr.count("\n") == 1
