"""The pages about nights, as values and as they are served."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from app.store.nights import LEASE_S, NightRow
from app.store.policies import Policy
from app.ui.nights import NightsPage, nights_page
from tests.fakes.upstream import FakeUpstream, scripted
from tests.retrain import reports
from tests.store.groups import START

RAN = NightRow(
    id="2026-09-22-main",
    schedule="main",
    day=date(2026, 9, 22),
    status="promoted",
    phase=None,
    started_at=START,
    finished_at=START + 1_140,
    objective="tapered",
    settings={},
    report=reports.promoted(),
    policy="policy-4",
    owner=None,
    heartbeat_at=None,
)
RUNS = replace(
    RAN,
    id="2026-09-23-main",
    status="running",
    phase="train",
    finished_at=None,
    report=None,
    heartbeat_at=START,
)
SERVES = Policy(
    name="policy-4",
    engine="main",
    parent="policy-3",
    base_model="smol",
    path="/p",
    sha256="0" * 64,
    status="active",
    created_at=START,
)


def page_of(*nights: NightRow, policies: tuple[Policy, ...] = (), **about: Any) -> NightsPage:
    usual: dict[str, Any] = {"next_at": None, "share": 0.05, "now": START + 10, "session": False}
    return nights_page(nights, policies, **(usual | about))


def test_a_night_that_ended_leads_to_its_report() -> None:
    (row,) = page_of(RAN).nights

    assert (row.href, row.status.word, row.took) == (
        "/nights/2026-09-22-main",
        "Promoted",
        "19 min",
    )
    assert row.better.count("%") == 2
    assert row.reason == "the gate and the canary share agree"


@pytest.mark.parametrize(
    ("now", "word"), [(START + 10, "Running: train"), (START + LEASE_S, "Interrupted")]
)
def test_a_night_that_runs_says_what_it_is_doing(now: float, word: str) -> None:
    (row,) = page_of(RUNS, now=now).nights

    assert (row.status.word, row.href) == (word, "")


def test_who_serves_is_said_first() -> None:
    canary = replace(SERVES, name="policy-5", status="canary")
    told = page_of(policies=(canary, SERVES)).serving

    assert told == ("policy-4 serves on main; policy-5 tries 5 % of the requests.",)
    assert page_of(policies=(replace(SERVES, status="retired"),)).serving == (
        "The base model serves on main.",
    )


def test_the_next_night_is_said() -> None:
    begins = datetime(2026, 9, 23, 2, 30, tzinfo=UTC)

    assert page_of(next_at=begins).schedule.endswith("on 2026-09-23 at 02:30 UTC.")
    assert "off" in page_of().schedule


async def test_the_gateway_serves_the_list_and_a_report(gateway: Any) -> None:
    async with FakeUpstream(scripted("4")) as fake:
        running = gateway(fake.url)
        state = running.application.state
        async with httpx.AsyncClient(base_url=running.url, timeout=20) as client:
            empty = await client.get("/nights")
            claim = await state.nights.claim(
                RAN.day, "main", objective="tapered", settings={}, owner="o", now=START
            )
            unfinished = await client.get(f"/nights/{claim.night.id}")
            await state.nights.finish(
                claim.night.id, status="promoted", report=reports.promoted(), now=START + 60
            )
            listed = await client.get("/nights")
            report = await client.get(f"/nights/{claim.night.id}")
            missing = await client.get("/nights/2020-01-01-main")

    assert "No nights yet" in empty.text
    assert f'href="/nights/{claim.night.id}"' in listed.text
    assert (report.status_code, "What the gate asked for" in report.text) == (200, True)
    assert (unfinished.status_code, missing.status_code) == (404, 404)
