"""`verivote trace` as a person runs it, beside a gateway or without one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from app.group import Decision, Group
from app.store.base import Label, TraceFilter
from app.store.spool import Spool
from app.store.sql import SqlStore
from tests.cli.command import verivote
from tests.store.groups import START, failed_group, make_group, make_scored


def fill(data: Path, *groups: Group, label: Label | None = None) -> None:
    """What a gateway leaves behind after it answered these."""

    async def run() -> None:
        store = SqlStore(f"sqlite:///{data / 'verivote.db'}", data / "spool.db", clock=time.time)
        await store.start()
        for group in groups:
            await store.append(group)
        await store.list(TraceFilter())
        if label is not None:
            await store.add_label(label)
        await store.close()

    asyncio.run(run())


def leave_in_spool(data: Path, group: Group) -> None:
    async def run() -> None:
        spool = Spool(data / "spool.db", clock=time.time)
        await spool.open()
        await spool.append(group.trace_id, group.to_json(), group.to_json)
        await spool.close()

    asyncio.run(run())


def test_ls_prints_a_line_a_trace_newest_first(tmp_path: Path) -> None:
    old, new = make_group(START), failed_group(START + 1)
    fill(tmp_path, old, new)

    done = verivote("trace", "ls", "--data", str(tmp_path))

    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [line[1] for line in lines] == [new.trace_id, old.trace_id]
    assert lines[1][2:] == ["hard", "verified", "42 ×2, 41 ×1", "42", "100", "What is 17 + 25?"]


def test_ls_filters_and_pages(tmp_path: Path) -> None:
    groups = [make_group(START + i) for i in range(3)]
    fill(tmp_path, *groups, failed_group(START + 9))

    first = verivote(
        "trace", "ls", "--data", str(tmp_path), "--status", "verified", "--limit", "2", "--json"
    )
    rest = verivote(
        "trace", "ls", "--data", str(tmp_path), "--before", groups[1].trace_id, "--json"
    )

    assert [row["trace_id"] for row in json.loads(first.stdout)] == [
        groups[2].trace_id,
        groups[1].trace_id,
    ]
    assert first.stderr == f"more: --before {groups[1].trace_id}\n"
    assert [row["trace_id"] for row in json.loads(rest.stdout)] == [groups[0].trace_id]


def test_show_prints_the_whole_group_as_json(tmp_path: Path) -> None:
    group = make_group()
    label = Label(id="1", trace_id=group.trace_id, kind="right", created_at=START, author="local")
    fill(tmp_path, group, label=label)

    told = json.loads(
        verivote("trace", "show", group.trace_id, "--data", str(tmp_path), "--json").stdout
    )

    assert Group.from_json(json.dumps(told["group"])) == group
    assert told["labels"][0]["kind"] == "right"


def test_show_tells_people_why_the_answer_was_believed(tmp_path: Path) -> None:
    group = make_group()
    fill(tmp_path, group)

    out = verivote("trace", "show", group.trace_id, "--data", str(tmp_path)).stdout

    assert "status     verified\n" in out
    assert "votes      42 ×2, 41 ×1\n" in out
    assert "0 served\t42\tcalculator:pass\t1.00\t4\tstop\tIt is 42.\n" in out
    assert "2\t41\tcalculator:fail\t0.00\t4\tstop\tIt is 41.\n" in out


def test_show_tells_both_models_of_a_cascade(tmp_path: Path) -> None:
    given_up = make_group().with_decision(
        Decision(status="unverified", winner=0, stop_reason="cap")
    )
    plan = replace(given_up.plan, policy="big-1", route_name="sums")
    program = make_scored(7, "12", kind="program", stage=1)
    group = given_up.next_stage(plan).with_scored(program)
    fill(tmp_path, group.with_decision(Decision(status="agreed", winner=7)))

    lines = verivote("trace", "show", group.trace_id, "--data", str(tmp_path)).stdout.splitlines()

    assert f"gave up    {given_up.plan.policy}: unverified, 42 ×2, 41 ×1, stopped by cap" in lines
    assert "policy     big-1" in lines
    assert "named      sums" in lines
    assert any(line.startswith("7 program fallback served") for line in lines)


def test_text_of_a_model_cannot_steer_the_terminal(tmp_path: Path) -> None:
    nasty = make_scored(0, "\x1b]0;owned\x07", text="a\x1b[2Jb\nc\td\u202e")
    group = replace(make_group(answers=()), scored=(nasty,))
    fill(tmp_path, group)

    shown = verivote("trace", "show", group.trace_id, "--data", str(tmp_path)).stdout
    listed = verivote("trace", "ls", "--data", str(tmp_path)).stdout

    assert "a [2Jb c d " in shown
    assert all(c.isprintable() or c in "\n\t" for c in shown + listed)


def test_what_waits_in_the_spool_is_shown_and_left_there(tmp_path: Path) -> None:
    """Another process owns the spool: reading must not drain it."""
    fill(tmp_path, make_group(START))
    waiting = make_group(START + 1)
    leave_in_spool(tmp_path, waiting)

    shown = verivote("trace", "show", waiting.trace_id, "--data", str(tmp_path), "--json")
    listed = verivote("trace", "ls", "--data", str(tmp_path), "--json")

    assert Group.from_json(json.dumps(json.loads(shown.stdout)["group"])) == waiting
    assert len(json.loads(listed.stdout)) == 1
    assert listed.stderr == "1 more in the spool, not listed yet\n"
    with closing(sqlite3.connect(tmp_path / "spool.db")) as spool:
        assert spool.execute("SELECT count(*) FROM spool").fetchone() == (1,)


def test_an_unknown_trace_is_exit_code_1(tmp_path: Path) -> None:
    fill(tmp_path, make_group())

    done = verivote("trace", "show", "chatcmpl-none", "--data", str(tmp_path))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "verivote: there is no trace 'chatcmpl-none'\n"


def test_no_database_yet_is_exit_code_3_and_makes_none(tmp_path: Path) -> None:
    done = verivote("trace", "ls", "--data", str(tmp_path))

    assert done.returncode == 3
    assert done.stderr == "verivote: there are no traces yet: `verivote serve` makes the database\n"
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_is_exit_code_2(tmp_path: Path) -> None:
    done = verivote("trace", "ls", "--data", str(tmp_path), "--limit", "0")

    assert done.returncode == 2
    assert "--limit" in done.stderr
