"""The page that shows whether confidences meant what they said."""

from __future__ import annotations

import pytest

from app.settings import Settings
from app.ui.reliability import ReliabilityPage, RouteReliability, reliability_page
from app.voting.confidence import Calibration, Evidence, Outcome, calibrate
from tests.ui.conftest import serve

THREE = Evidence(n=3, a=3, b=0, distinct=1, nulls=0)
PROVEN = Evidence(n=1, a=1, b=0, distinct=1, nulls=0, proven=True)


def labelled(right: int, total: int, *, said: float | None, evidence=THREE, **names) -> Calibration:
    outcomes = [Outcome(evidence=evidence, right=i < right, said=said) for i in range(total)]
    return calibrate(outcomes, **{"route": "maths", "policy": "policy-3", **names})


def page(*calibrations: Calibration, **promises: float) -> ReliabilityPage:
    return reliability_page(calibrations, promises, session=False)


def facts(route: RouteReliability) -> dict[str, str]:
    return {fact.name: fact.value for fact in route.facts}


def test_what_was_said_stands_beside_what_was_so():
    [route] = page(labelled(180, 200, said=0.95)).routes

    assert route.sentence == (
        "Over 200 labelled answers, what was said and what was so are 5.0 points apart."
    )
    assert [(row.confidence, row.answers, row.right) for row in route.bins] == [
        ("90 to 100 %", 200, "90 %")
    ]
    assert 'class="dot"' in route.drawing
    assert facts(route)["Brier score"].startswith("0.09")


def test_a_route_with_too_few_labels_says_how_many_it_has():
    [route] = page(labelled(30, 37, said=None)).routes

    assert route.sentence.startswith("37 of the 100 labels are there")
    assert (route.drawing, route.bins) == (None, ())


def test_a_route_that_has_just_been_calibrated_has_nothing_to_show_yet():
    [route] = page(labelled(120, 130, said=None)).routes

    assert "none of those that had one is labelled yet" in route.sentence


def test_a_promise_shows_the_confidence_that_keeps_it_or_that_none_does():
    good = page(labelled(398, 400, said=None), maths=0.05).routes[0]
    bad = page(labelled(300, 400, said=None), maths=0.05).routes[0]
    none = page(labelled(398, 400, said=None), law=0.05).routes[0]

    assert facts(good)["Serves from"].endswith("%")
    assert facts(bad)["Serves from"] == "–"
    assert "Serves from" not in facts(none)


def test_proofs_are_counted_apart():
    proofs = labelled(9, 10, said=None, evidence=PROVEN)

    assert facts(page(proofs).routes[0])["Proofs right"] == "9 of 10"


def test_the_route_with_the_most_labels_comes_first():
    few, many = labelled(1, 2, said=None, route="a"), labelled(3, 4, said=None, route="b")

    assert [route.route for route in page(few, many).routes] == ["b", "a"]


def test_the_page_is_served_and_names_are_only_text(tmp_path):
    known = labelled(180, 200, said=0.95, policy="<img src=x onerror=alert(1)>")
    with serve(tmp_path, (), Settings(), (known,)) as site, site.client() as client:
        reply = client.get("/reliability")

    assert reply.status_code == 200
    assert "&lt;img src=x" in reply.text
    assert "<img" not in reply.text
    assert '<circle class="dot"' in reply.text


def test_without_labels_the_page_says_what_to_do(empty_site):
    with empty_site.client() as client:
        reply = client.get("/reliability")

    assert "once 100 of them are labelled" in reply.text


@pytest.mark.parametrize(("key", "status"), [("vv-reader", 403), (None, 303)])
def test_only_who_sees_all_tenants_sees_their_labels_together(locked_site, key, status):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with locked_site.client() as client:
        reply = client.get("/reliability", headers=headers)

    assert reply.status_code == status
