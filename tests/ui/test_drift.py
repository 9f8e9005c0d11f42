"""The page that says whether the traffic has moved, as a value and as it is served."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from app.errors import RequestError
from app.retrain.moving import compare
from app.ui.drift import PROPERTIES, DriftQuery, drift_page, drift_view
from app.ui.night import night_page
from app.ui.render import environment
from tests.retrain import reports
from tests.retrain.moving import HOUR_S, around, traffic, write_log
from tests.store.groups import START

QUERY = DriftQuery(days=7, before=28, engine="")


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is found in a log whose prompts became longer and answers worse."""
    folder = tmp_path_factory.mktemp("moving")
    url = f"sqlite+aiosqlite:///{folder / 'verivote.db'}"

    async def find() -> dict[str, Any]:
        old = traffic(START, hours=20, right=0.8)
        new = traffic(START + 20 * HOUR_S, hours=20, right=0.3, long=True)
        await write_log(url, folder, [*old, *new], START)
        return (await compare(url, *around(START, 20))).to_json()

    return asyncio.run(find())


def test_what_moved_is_said_first_and_drawn_further(moving: dict[str, Any]) -> None:
    view = drift_view(moving)
    rows = {row.name: row for row in view.rows}
    prompts, tasks = rows["Length of prompts"], rows["Kinds of tasks"]

    assert view.sentence.startswith("The traffic has moved: ")
    assert "length of prompts" in view.sentence
    assert (prompts.band, prompts.state.word) == ("major", "Drifted")
    assert (tasks.band, tasks.state.word) == ("stable", "Not drifted")
    assert 0 == tasks.span.low == prompts.span.low
    assert tasks.span.at < view.bands[0] < view.bands[1] < prompts.span.at <= 100
    assert view.windows[0].startswith("Now: 2026-09-21 ")


def test_every_property_that_is_compared_has_a_name(moving: dict[str, Any]) -> None:
    compared = {moved["name"] for moved in moving["moved"]} | {*moving["not_compared"]}

    assert compared == PROPERTIES.keys()


def test_nothing_found_and_nothing_to_find_are_told_apart(moving: dict[str, Any]) -> None:
    same = {**moving, "drifted": [], "engine": "main"}
    empty = {**moving, "drifted": [], "moved": []}

    assert drift_view(same).sentence.startswith("The traffic of main is that of before")
    assert "fewer than 30 groups" in drift_view(empty).sentence


def test_other_windows_are_a_link_away_and_keep_the_engine(moving: dict[str, Any]) -> None:
    query = DriftQuery(days=1, before=7, engine="a&b")
    page = drift_page(moving, query, session=False)

    assert [link.current for link in page.choices] == [True, False, False]
    assert page.choices[1].href == "/drift?days=7&before=28&engine=a%26b"


@pytest.mark.parametrize("days", ["0", "-1", "367", "soon", "1.5", "٣٣٣٣٣", "9" * 5_000])
def test_days_that_are_none_are_named(days: str) -> None:
    with pytest.raises(RequestError, match="days is ") as wrong:
        DriftQuery.parse({"days": days})

    assert wrong.value.param == "days"


def test_a_night_says_what_drifted_and_goes_on(moving: dict[str, Any]) -> None:
    page = night_page(reports.promoted(drift=moving))
    html = environment().get_template("night.html").render(page=page)
    fact = next(fact for fact in page.facts if fact.name == "Drift")

    assert page.status.word == "Promoted"
    assert fact.value == f"{len(moving['drifted'])} of {len(moving['moved'])}"
    assert "It warns only" in html
    assert "Length of prompts" in html


def test_reports_from_before_drift_was_looked_for_are_shown_without() -> None:
    report = reports.promoted()
    del report["drift"]
    page = night_page(report)

    assert page.drift is None
    assert "Drift" not in {fact.name for fact in page.facts}


def test_what_a_log_says_is_shown_as_text(moving: dict[str, Any]) -> None:
    moved = {**moving["moved"][0], "shift": "<b>math</b> 1.0% → 2.0%"}
    page = drift_page({**moving, "moved": [moved]}, QUERY, session=False)
    html = environment().get_template("drift.html").render(page=page)

    assert "<b>math" not in html
    assert "&lt;b&gt;math" in html


def test_the_gateway_serves_the_page_and_refuses_other_windows(gateway: Any) -> None:
    with httpx.Client(base_url=gateway("http://127.0.0.1:9/v1").url, timeout=20) as client:
        page = client.get("/drift?days=1&before=7")
        wrong = client.get("/drift?days=none")

    assert (page.status_code, wrong.status_code) == (200, 400)
    assert "nothing can be compared" in page.text
    assert 'href="/drift?days=7&amp;before=28"' in page.text
    assert "days is &#39;none&#39;" in wrong.text


def test_only_admins_may_see_it(gateway: Any) -> None:
    url = gateway("http://127.0.0.1:9/v1", server={"keys": "required"}).url
    with httpx.Client(base_url=url, timeout=20) as client:
        asked = client.get("/drift?days=1")

    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/drift%3Fdays%3D1")
