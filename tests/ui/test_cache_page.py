"""The page about the cache, as values and as it is served."""

from __future__ import annotations

import pytest

from app.cache.base import CacheStats
from app.ui.cache_page import cache_page, show_bytes

QUIET = CacheStats(place="memory://", state="closed", entries=0, negatives=0, bytes=0, flights=0)
BUSY = CacheStats(
    place="redis://cache:6379/0",
    state="open",
    fault="no answer within 50 ms",
    entries=1_234,
    negatives=5,
    bytes=1_500_000,
    complete=False,
    flights=2,
    events={"hit": 75, "negative": 5, "miss": 20, "reverified": 2, "late": 3, "bad_signature": 1},
)


def test_what_is_kept_is_told_with_what_could_not_be_counted():
    facts = {
        fact.name: (fact.value, bool(fact.help)) for fact in cache_page(BUSY, session=False).facts
    }

    assert facts["Verified answers"] == ("1,234", True)
    assert facts["Size"] == ("1.5 MB", True)
    assert facts["In flight here"] == ("2", False)


def test_events_are_told_as_shares_of_all_look_ups():
    look_ups, faults = cache_page(BUSY, session=False).tables

    assert [(row.name, row.share) for row in look_ups.rows[:3]] == [
        ("Hits", "75.0 %"),
        ("Known failures", "5.0 %"),
        ("Misses", "20.0 %"),
    ]
    assert [row.name for row in faults.rows] == ["Late", "Bad signatures"]


def test_a_quiet_cache_has_no_faults_to_show():
    page = cache_page(QUIET, session=False)

    assert len(page.tables) == 1
    assert (page.works, page.fault) == (True, "")


def test_a_cache_that_is_away_says_why():
    page = cache_page(BUSY, session=False)

    assert not page.works
    assert "bypassed" in page.state
    assert page.fault == "no answer within 50 ms"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (123_456, "123 kB"), (5 * 10**9, "5.0 GB")],
)
def test_sizes_are_short(size, shown):
    assert show_bytes(size) == shown


def test_the_page_is_for_admins(site, locked_site):
    with site.client() as client:
        page = client.get("/cache")
    with locked_site.client() as client:
        reader = client.get("/cache", headers={"authorization": "Bearer vv-reader"})
        nobody = client.get("/cache")

    assert page.status_code == 200
    assert "kept in the memory of this process" in page.text
    assert reader.status_code == 403
    assert nobody.headers["location"] == "/login?next=/cache"
