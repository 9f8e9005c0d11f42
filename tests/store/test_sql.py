"""What a store promises, over SQLite and over Postgres."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from app.errors import NotFound
from app.group import CacheRecord, Group
from app.store.base import Label, TraceFilter
from app.store.sql import SqlStore
from app.store.tables import groups, payloads, samples
from tests import strategies
from tests.store.groups import START, failed_group, make_group, make_scored, trace_id_at
from verifiers.base import Status, ToolCall


async def append_all(store: SqlStore, *made: Group) -> None:
    await asyncio.gather(*(store.append(group) for group in made))


async def listed(store: SqlStore, **wanted: object) -> list[str]:
    page = await store.list(TraceFilter(**wanted))  # type: ignore[arg-type]
    return [row.trace_id for row in page.rows]


def label(trace_id: str, **changes: object) -> Label:
    made = Label(id="01A", trace_id=trace_id, kind="wrong", created_at=START, author="local")
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_a_group_is_read_back_exactly(store: SqlStore) -> None:
    group = make_group()

    await store.append(group)
    from_spool = await store.get(group.trace_id)
    await store.list(TraceFilter())
    from_database = await store.get(group.trace_id)

    assert (group, group) == (from_spool, from_database)


async def test_a_list_sees_what_was_appended_before_it(store: SqlStore) -> None:
    made = [make_group(START + i) for i in range(30)]

    await append_all(store, *made)

    assert [group.trace_id for group in reversed(made)] == await listed(store)


async def test_a_line_of_the_list_says_what_happened(store: SqlStore) -> None:
    group = make_group(degraded=("cache",))
    await store.append(group)

    row = (await store.list(TraceFilter())).rows[0]

    assert row.trace_id == group.trace_id
    assert (row.status, row.route, row.stop_reason) == ("verified", "hard", "decisive_pass")
    assert (row.prompt_preview, row.answer) == ("What is 17 + 25?", "42")
    assert (row.votes, row.agreement) == ((("42", 2), ("41", 1)), 2 / 3)
    assert row.verdicts == (("fail", 1), ("pass", 2))
    assert (row.samples, row.rounds, row.duration_ms) == (3, 1, 100.0)
    assert (row.prompt_tokens, row.completion_tokens) == (12, 12)
    assert (row.cache_hit, row.degraded, row.labels) == (False, ("cache",), ())


async def test_a_failed_group_is_listed_as_failed(store: SqlStore) -> None:
    await store.append(failed_group())

    row = (await store.list(TraceFilter(status="failed"))).rows[0]

    assert (row.status, row.answer, row.agreement, row.votes) == ("failed", None, None, ())


async def test_pages_follow_each_other_without_gap_or_overlap(store: SqlStore) -> None:
    made = [make_group(START + i) for i in range(7)]
    await append_all(store, *made)

    seen, before = [], None
    while True:
        page = await store.list(TraceFilter(limit=3, before=before))
        seen += [row.trace_id for row in page.rows]
        before = page.next_before
        if before is None:
            break

    assert [group.trace_id for group in reversed(made)] == seen


async def test_each_filter_keeps_what_it_names(store: SqlStore) -> None:
    plain = make_group(START, answers=("42",))
    other = make_group(START + 1, answers=("42",), task={"tenant": "acme", "model": "smol:fast"})
    easy = make_group(START + 2, answers=("42",), plan={"route": "easy"})
    split = make_group(START + 3)
    broken = make_group(START + 4, answers=()).with_scored(make_scored(0, "42", Status.ERROR))
    cached = make_group(START + 5, answers=("42",), cache=CacheRecord(hit=True))
    tagged = make_group(
        START + 6,
        answers=("42",),
        task={
            "metadata": {'a"b\\%': "x", "team": "ops"},
            "messages": ({"role": "user", "content": "Is 50% OF_it here?"},),
        },
    )
    failed = failed_group(START + 7)
    made = (plain, other, easy, split, broken, cached, tagged, failed)
    await append_all(store, *made)
    await store.list(TraceFilter())
    await store.add_label(label(plain.trace_id))

    def ids(*expected: Group) -> list[str]:
        return [group.trace_id for group in reversed(expected)]

    assert ids(other) == await listed(store, tenant="acme")
    assert ids(failed) == await listed(store, status="failed")
    assert ids(easy) == await listed(store, route="easy")
    assert ids(other) == await listed(store, model="smol:fast")
    assert ids(split) == await listed(store, quick="split")
    assert ids(broken) == await listed(store, quick="verifier_error")
    assert ids(cached) == await listed(store, quick="cached")
    assert ids(*made[1:]) == await listed(store, quick="unlabelled")
    assert ids(tagged) == await listed(store, metadata={'a"b\\%': "x"})
    assert ids(tagged) == await listed(store, metadata={"team": "ops", 'a"b\\%': "x"})
    assert ids() == await listed(store, metadata={"team": "x"})
    assert ids(tagged) == await listed(store, search="50% of_")
    assert ids(easy) == await listed(store, search=easy.trace_id)
    assert ids(easy, split) == await listed(store, since=START + 2, until=START + 4)


async def test_a_trace_of_another_tenant_is_not_there(store: SqlStore) -> None:
    group = make_group(task={"tenant": "acme"})
    await store.append(group)

    for _ in ("in the spool", "in the database"):
        assert await store.get(group.trace_id, tenant="acme") == group
        assert await store.get(group.trace_id, tenant="other") is None
        await store.list(TraceFilter())


async def test_labels_are_rows_of_their_own(store: SqlStore) -> None:
    group = make_group()
    await store.append(group)
    wrong = label(group.trace_id, sample=1, correction="43\x00", note="off by one")
    right = label(group.trace_id, id="01B", kind="right", created_at=START + 1)

    await store.add_label(wrong)
    await store.add_label(right)

    assert (replace(wrong, correction="43␀"), right) == await store.labels(group.trace_id)
    assert (await store.list(TraceFilter())).rows[0].labels == ("right", "wrong")
    assert await store.get(group.trace_id) == group


async def test_a_label_needs_its_trace(store: SqlStore) -> None:
    with pytest.raises(NotFound, match="no trace 'chatcmpl-none'"):
        await store.add_label(label("chatcmpl-none"))


async def test_a_group_that_arrives_twice_is_there_once(store: SqlStore) -> None:
    """As after a crash between the two commits; the first one counts."""
    group = make_group()

    await append_all(store, group, group)
    await store.list(TraceFilter())
    await store.append(make_group(answers=("1", "2", "3", "4")))

    assert [group.trace_id] == await listed(store)
    assert await store.get(group.trace_id) == group
    async with store.engine.connect() as connection:
        count = (await connection.execute(select(func.count()).select_from(samples))).scalar()
    assert count == 3


async def test_token_ids_and_logprobs_are_columns(store: SqlStore) -> None:
    await store.append(make_group())
    await store.list(TraceFilter())

    async with store.engine.connect() as connection:
        query = select(samples.c.token_ids, samples.c.logprobs).order_by(samples.c.sample)
        row = (await connection.execute(query)).first()
        prompt = (await connection.execute(select(payloads.c.prompt_token_ids))).scalar()

    assert row is not None
    assert tuple(row) == ((5, 6, 7, 0), (-0.5, -0.25, -1.0, -0.125))
    assert prompt == (1, 2, 3)


async def test_a_nul_is_shown_by_a_stand_in_and_blocks_nothing(store: SqlStore) -> None:
    """Field case pc-045: Postgres keeps no NUL, so the trace was lost or wedged the queue."""
    scored = make_scored(0, "42", text="ok\x00done", raw_text="\x00", reasoning="\x00")
    call = ToolCall(id="\x00", name="f\x00", arguments='{"a": "\\u0000", "b": "\x00"}')
    odd = make_group(
        START,
        answers=(),
        task={
            "messages": ({"role": "user", "content": "size\x00 of file", "k\x00": ["\x00"]},),
            "metadata": {"k\x00": "v\x00"},
            "tenant": "t\x00",
            "model": "m\x00",
        },
    ).with_scored(replace(scored, sample=replace(scored.sample, tool_calls=(call,))))
    after = [make_group(START + i) for i in (1, 2)]

    for group in (odd, *after):
        await store.append(group)
    shown_from_spool = await store.get(odd.trace_id)
    rows = (await store.list(TraceFilter())).rows
    shown = await store.get(odd.trace_id)

    assert shown is not None
    assert shown == shown_from_spool
    assert [g.trace_id for g in (*reversed(after), odd)] == [row.trace_id for row in rows]
    assert rows[-1].prompt_preview == "size␀ of file"
    assert shown.task.prompt() == "size␀ of file"
    assert shown.scored[0].sample.text == "ok␀done"
    assert shown.scored[0].sample.tool_calls[0].arguments == '{"a": "\\u0000", "b": "␀"}'
    assert shown.altered == ("nul",)
    assert shown.original_sha256 == hashlib.sha256(odd.to_json()).hexdigest()
    async with store.engine.connect() as connection:
        marks = select(payloads.c.altered, payloads.c.original_sha256)
        marked = (await connection.execute(marks.where(payloads.c.trace_id == odd.trace_id))).one()
    assert tuple(marked) == (["nul"], shown.original_sha256)
    assert [odd.trace_id] == await listed(store, search="size\x00 of", tenant="t\x00")
    assert [odd.trace_id] == await listed(store, metadata={"k\x00": "v\x00"}, model="m\x00")
    assert (await store.health()).spool_depth == 0


async def test_a_lone_surrogate_is_replaced_and_told(store: SqlStore) -> None:
    """The edges replace them; one that slips through must not cost the trace."""
    group = make_group(task={"messages": ({"role": "user", "content": "a\ud800b\x00"},)})

    await store.append(group)
    await store.list(TraceFilter())
    shown = await store.get(group.trace_id)

    assert shown is not None
    assert shown.task.prompt() == "a\ufffdb␀"
    assert shown.altered == ("bad_unicode", "nul")


@pytest.mark.parametrize("odd", ["\x00", "\ud800", "%", "_", "'", '"', "\\", "x" * 5000, "💥"])
async def test_odd_words_in_a_question_find_nothing_and_break_nothing(
    store: SqlStore, odd: str
) -> None:
    await store.append(make_group())

    found = [
        await listed(store, **{field: odd})
        for field in ("tenant", "status", "route", "model", "search")
    ]
    found.append(await listed(store, metadata={odd: odd}))

    assert found == [[]] * len(found)
    assert await store.get(odd) is None
    assert await store.labels(odd) == ()


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(made=st.lists(strategies.groups, min_size=1, max_size=3, unique_by=lambda g: g.trace_id))
async def test_any_group_can_be_stored(store: SqlStore, made: list[Group]) -> None:
    """Whatever clients and models send: nothing is refused and nothing is left in the spool."""
    await append_all(store, *made)
    ids = {row.trace_id for row in (await store.list(TraceFilter(limit=500))).rows}
    health = await store.health()

    assert {group.trace_id for group in made} <= ids
    assert (health.spool_depth, health.rejected) == (0, 0)
    for group in made:
        assert (await store.get(group.trace_id)) is not None


async def test_content_is_dropped_before_anything_is_written(store: SqlStore) -> None:
    group = make_group(task={"store": False})
    await store.append(group)
    await store.list(TraceFilter())

    shown = await store.get(group.trace_id)

    assert shown is not None
    assert b"17 + 25" not in shown.to_json()
    assert (await store.list(TraceFilter())).rows[0].prompt_preview == ""
    async with store.engine.connect() as connection:
        assert (await connection.execute(select(groups.c.content))).scalar() == "off"


async def test_health_tells_depth_and_age(store: SqlStore) -> None:
    await store.append(make_group())
    await store.list(TraceFilter())

    health = await store.health()

    assert (health.writable, health.database) == (True, True)
    assert (health.spool_depth, health.spool_oldest_s) == (0, None)


def test_ids_of_the_builder_sort_by_time() -> None:
    assert trace_id_at(START) < trace_id_at(START + 1) < trace_id_at(START + 1, salt=1)


async def test_verdicts_in_doubt_get_a_note_beside_their_groups(store: SqlStore) -> None:
    old, fresh = make_group(START), make_group(START + 100)
    await append_all(store, old, fresh)
    verifier = fresh.scored[0].verdicts[0].verifier

    marked = await store.note_verdicts(
        verifier, since=START + 50, at=START + 200, author="canary", note="in doubt"
    )
    none = await store.note_verdicts("other", since=0, at=START, author="canary", note="x")

    assert (marked, none) == ((fresh.trace_id,), ())
    assert [said.note for said in await store.labels(fresh.trace_id)] == ["in doubt"]
    assert await store.labels(old.trace_id) == ()
    assert await store.get(fresh.trace_id) == fresh
