from __future__ import annotations

import dataclasses

import pytest

from app.errors import RequestError
from app.store.base import TracePage, TraceSummary
from app.ui.trace_list import ListQuery, TraceList, trace_list
from tests.ui.sample_groups import NOON, trace_id

SUMMARY = TraceSummary(
    trace_id=trace_id(1),
    received_at=NOON,
    tenant="local",
    model="auto",
    route="hard",
    status="agreed",
    stop_reason="margin",
    prompt_preview="What is 6 * 7?",
    answer="42",
    samples=5,
    rounds=2,
    votes=(("42", 4), ("41", 1)),
    agreement=0.8,
    verdicts=(("pass", 5),),
    prompt_tokens=1_000,
    completion_tokens=234,
    duration_ms=812.0,
    cache_hit=False,
    degraded=(),
    labels=("wrong", "note", "note"),
)


def view(*rows: TraceSummary, query: ListQuery | None = None, more: str | None = None) -> TraceList:
    page = TracePage(rows=rows, next_before=more)
    return trace_list(page, query or ListQuery(), base_url="http://gw:1", session=False)


def test_a_row_says_what_the_summary_says():
    row = view(SUMMARY).rows[0]

    assert (row.at, row.at_iso) == ("24 Nov 12:00:00", "2026-11-24T12:00:00.000+00:00")
    assert (row.votes, row.tokens, row.latency) == ("4 of 5", "1,234", "812 ms")
    assert (row.status.kind, row.status.word) == ("agreed", "Agreed")
    assert row.labels == ("wrong", "note")


def test_the_votes_bar_fills_its_width_and_the_leader_comes_first():
    slices = view(SUMMARY).rows[0].slices

    assert [(s.x, s.width, s.leads) for s in slices] == [(0, 80, True), (80, 20, False)]


def test_past_five_answers_the_bar_joins_the_rest():
    votes = tuple((str(n), 1) for n in range(40))
    slices = view(dataclasses.replace(SUMMARY, votes=votes)).rows[0].slices

    assert len(slices) == 6
    assert slices[-1].width == 87.5


def test_a_group_without_votes_has_no_bar():
    row = view(dataclasses.replace(SUMMARY, votes=())).rows[0]

    assert (row.votes, row.slices) == ("", ())


def test_paging_keeps_the_filters():
    query = ListQuery(status="failed", q="a&b", before="chatcmpl-2")
    page = view(SUMMARY, query=query, more="chatcmpl-1")

    assert page.older == "/traces?status=failed&q=a%26b&before=chatcmpl-1"
    assert page.newest == "/traces?status=failed&q=a%26b"


def test_the_last_page_has_no_older_one():
    assert view(SUMMARY).older == ""


def test_a_quick_view_keeps_the_search_and_knows_when_it_is_shown():
    links = {link.label: link for link in view(query=ListQuery(q="rolls", view="split")).quick}

    assert links["Cached"].href == "/traces?view=cached&q=rolls"
    assert [label for label, link in links.items() if link.current] == ["Split vote"]


def test_an_empty_list_tells_how_to_make_the_first_trace():
    page = view()

    assert not page.is_filtered
    assert page.first_call.startswith("curl http://gw:1/v1/chat/completions ")


@pytest.mark.parametrize("name", ["status", "route", "view"])
def test_an_unknown_filter_value_is_an_error_that_names_the_parameter(name):
    with pytest.raises(RequestError, match=f"^{name} is 'nonsense'; known: ") as refused:
        ListQuery.parse({name: "nonsense"})

    assert refused.value.param == name


def test_the_url_becomes_the_store_s_filter():
    query = ListQuery.parse({"view": "verifier_error", "q": " 41 ", "model": "auto", "x": "y"})
    wanted = query.to_filter("local")

    assert (wanted.quick, wanted.search, wanted.model) == ("verifier_error", "41", "auto")
    assert (wanted.tenant, wanted.status, wanted.before) == ("local", None, None)
