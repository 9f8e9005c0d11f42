"""Who says that an answer was right, over SQLite and over Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from app.group import CacheRecord, Decision, Group, Tally
from app.store.base import Label, TraceFilter
from app.store.labelled import DEEP_VOTE, LabelledLog, place_at
from app.store.sql import SqlStore
from app.store.tables import payloads
from tests.store.groups import START, failed_group, make_group, make_scored, trace_id_at
from verifiers.base import Status

FOREVER = place_at(START + 10**6)


@pytest.fixture
def log(store: SqlStore) -> LabelledLog:
    return LabelledLog(store.engine)


async def keep(store: SqlStore, *groups: Group) -> None:
    for group in groups:
        await store.append(group)
    await store.list(TraceFilter())


async def say(store: SqlStore, group: Group, kind: str, at: float, **fields: Any) -> Label:
    label = Label(
        id=trace_id_at(at).removeprefix("chatcmpl-"),
        trace_id=group.trace_id,
        kind=kind,
        created_at=at,
        author="ann",
        **fields,
    )
    await store.add_label(label)
    return label


def unchecked(at: float = START, answers: Sequence[str] = ("42", "42", "41")) -> Group:
    """A group on which no verifier had a word."""
    group = make_group(at, answers=answers)
    scored = tuple(replace(each, verdicts=(), reward=None) for each in group.scored)
    counts = sorted({a: answers.count(a) for a in answers}.items(), key=lambda v: -v[1])
    tally = Tally(votes=tuple(counts), leader=counts[0][0], margin=counts[0][1])
    return replace(group, scored=scored, tally=tally)


def refuted(at: float = START) -> Group:
    group = make_group(at, answers=("41", "40"))
    return replace(group, decision=Decision(status="unverified", winner=0, returned=(0,)))


async def known(log: LabelledLog) -> list[tuple[str, bool | None, str | None]]:
    return [(e.source, e.right, e.truth) for e in await log.labelled(None, 100)]


async def test_a_decisive_verdict_on_the_served_answer_is_a_label(
    store: SqlStore, log: LabelledLog
) -> None:
    await keep(store, make_group(START), refuted(START + 1), unchecked(START + 2))

    assert await known(log) == [("verifier", True, "42"), ("verifier", False, None)]


async def test_a_verdict_that_could_not_be_given_is_none(store: SqlStore, log: LabelledLog) -> None:
    group = make_group()
    scored = (make_scored(0, "42", Status.ERROR), make_scored(1, "41", Status.ABSTAIN))
    await keep(store, replace(group, scored=scored))

    assert await known(log) == []


async def test_a_person_is_believed_before_a_verifier_and_the_last_word_counts(
    store: SqlStore, log: LabelledLog
) -> None:
    group, other = make_group(START), unchecked(START + 1)
    await keep(store, group, other)
    await say(store, group, "right", START + 10)
    await say(store, group, "wrong", START + 11)
    await say(store, other, "right", START + 12)

    assert await known(log) == [("label", False, None), ("label", True, "42")]


async def test_what_is_said_of_a_sample_that_was_not_served_is_no_label(
    store: SqlStore, log: LabelledLog
) -> None:
    other, served = unchecked(START), unchecked(START + 1)
    await keep(store, other, served)
    await say(store, other, "wrong", START + 10, sample=2)
    await say(store, other, "note", START + 11, note="hm")
    await say(store, served, "wrong", START + 12, sample=0)

    assert await known(log) == [("label", False, None)]


async def test_the_leader_of_a_deep_vote_stands_for_the_truth_and_labels_nothing(
    store: SqlStore, log: LabelledLog
) -> None:
    deep = ["42"] * (DEEP_VOTE - 2) + ["41", "40"]
    await keep(store, unchecked(START, deep), unchecked(START + 1, deep[1:]))

    assert await known(log) == [("vote", None, "42")]


async def test_hits_failures_and_what_was_not_to_be_stored_are_left_out(
    store: SqlStore, log: LabelledLog
) -> None:
    hit = make_group(START, cache=CacheRecord(hit=True, key="k"))
    unstored = make_group(START + 2, task={"store": False})
    await keep(store, hit, failed_group(START + 1), unstored)
    for number, group in enumerate((hit, failed_group(START + 1), unstored)):
        await say(store, group, "right", START + 10 + number)

    assert await known(log) == []
    assert (await log.events(None, 100, until=FOREVER)).events == ()


async def test_a_verifier_in_doubt_is_not_believed_and_a_person_still_is(
    store: SqlStore, log: LabelledLog
) -> None:
    doubted, confirmed = make_group(START), make_group(START + 1)
    await keep(store, doubted, confirmed)
    await store.note_verdicts("calculator", since=0, at=START + 5, author="canary", note="doubt")
    await say(store, confirmed, "right", START + 10)

    assert await known(log) == [("label", True, "42")]


async def test_pages_of_labelled_groups_join_without_a_gap(
    store: SqlStore, log: LabelledLog
) -> None:
    """Candidates that turn out to be unlabelled do not shorten a page."""
    erred = replace(
        make_group(START + 3), scored=(make_scored(0, "7", Status.ABSTAIN), make_scored(1, "42"))
    )
    groups = [make_group(START + i) for i in (0, 1, 2, 4, 5)]
    await keep(store, *groups, erred)

    first = await log.labelled(None, 4)
    rest = await log.labelled(first[-1].group.trace_id, 4)

    assert [e.group for e in (*first, *rest)] == groups
    assert len(first) == 4


async def test_a_document_that_cannot_be_read_is_passed_over(
    store: SqlStore, log: LabelledLog, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = make_group(START), make_group(START + 1)
    await keep(store, broken, whole)
    async with store.engine.begin() as connection:
        await connection.execute(
            update(payloads).where(payloads.c.trace_id == broken.trace_id).values(document="{}")
        )

    assert [e.group for e in await log.labelled(None, 9)] == [whole]
    page = await log.events(None, 9, until=FOREVER)
    assert [e.labelled.group for e in page.events] == [whole]
    assert broken.trace_id in caplog.text


async def test_events_come_in_the_order_in_which_they_became_known(
    store: SqlStore, log: LabelledLog
) -> None:
    """A person's word about an old trace is newer than a verdict on a young one."""
    old, young, silent = make_group(START), make_group(START + 20), unchecked(START + 5)
    await keep(store, old, young, silent)
    await say(store, old, "wrong", START + 10)
    await say(store, silent, "right", START + 30)

    page = await log.events(None, 100, until=FOREVER)

    assert [(e.labelled.group.trace_id, e.labelled.source) for e in page.events] == [
        (old.trace_id, "verifier"),
        (old.trace_id, "label"),
        (young.trace_id, "verifier"),
        (silent.trace_id, "label"),
    ]
    assert [e.labelled.right for e in page.events] == [True, False, True, True]
    assert page.is_last
    assert page.upto == page.events[-1].at


async def test_events_read_in_pieces_are_the_events_read_at_once(
    store: SqlStore, log: LabelledLog
) -> None:
    groups = [make_group(START + 2 * i) for i in range(5)]
    await keep(store, *groups)
    for number, group in enumerate(groups):
        await say(store, group, "right", START + 3 + 2 * number)

    whole = await log.events(None, 100, until=FOREVER)
    pieces, after, is_last = [], None, False
    while not is_last:
        page = await log.events(after, 3, until=FOREVER)
        pieces += page.events
        after, is_last = page.upto, page.is_last

    assert tuple(pieces) == whole.events
    assert len(pieces) == 10


async def test_events_end_where_they_are_told_to(store: SqlStore, log: LabelledLog) -> None:
    groups = [make_group(START + i) for i in range(4)]
    await keep(store, *groups)
    await say(store, groups[0], "right", START + 2.5)

    page = await log.events(None, 100, until=place_at(START + 2.2))

    assert [e.labelled.group for e in page.events] == groups[:3]
    later = await log.events(page.upto, 100, until=place_at(START + 2.7))
    assert [e.labelled.source for e in later.events] == ["label"]
    assert (await log.events(None, 9, until=place_at(START - 1))).upto is None
