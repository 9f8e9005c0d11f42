"""Which route a request takes, and what a route may say."""

from __future__ import annotations

from hashlib import sha256

import pytest

from app.errors import ConfigError
from app.routing.routes import compile_route, match_route, with_route
from app.settings import RouteSettings
from app.task import Options
from tests.builders import a_task


def routes(*written: dict[str, object]):
    return [
        compile_route(RouteSettings.model_validate({"name": f"r{i}", **each}), i, ())
        for i, each in enumerate(written)
    ]


def matched(task, *written):
    route = match_route(task, routes(*written))
    return route and route.name


def test_a_route_without_conditions_takes_every_request():
    assert matched(a_task("anything"), {}) == "r0"
    assert matched(a_task("anything")) is None


def test_the_first_route_that_matches_wins():
    about_code, every = {"match": {"regex": "python"}}, {}

    assert matched(a_task("Some python, please"), about_code, every) == "r0"
    assert matched(a_task("Some tea, please"), about_code, every) == "r1"


SYSTEM = "You answer tax questions."
TASK = a_task(
    "How much is VAT on 250 €?",
    alias="tax",
    metadata={"team": "sales", "case": "7"},
    messages=(
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "How much is VAT on 250 €?"},
    ),
)


@pytest.mark.parametrize(
    ("match", "takes"),
    [
        ({"alias": "tax"}, True),
        ({"alias": "Tax"}, False),
        ({"metadata": {"team": "sales"}}, True),
        ({"metadata": {"team": "sales", "case": "7"}}, True),
        ({"metadata": {"team": "sales", "case": "8"}}, False),
        ({"metadata": {"region": "eu"}}, False),
        ({"system_sha256": sha256(SYSTEM.encode()).hexdigest()}, True),
        ({"system_sha256": sha256(b"").hexdigest()}, False),
        ({"regex": r"(?i)\bvat\b"}, True),
        ({"regex": "250 €"}, True),
        ({"regex": "^VAT"}, False),
        ({"regex": "tax questions"}, False),
        ({"alias": "tax", "regex": "VAT", "metadata": {"team": "sales"}}, True),
        ({"alias": "tax", "regex": "VAT", "metadata": {"team": "support"}}, False),
    ],
)
def test_all_given_conditions_must_hold(match, takes):
    assert (matched(TASK, {"match": match}) is not None) is takes


def test_a_pattern_reads_the_last_user_message_only():
    """What an assistant or an earlier turn said takes no route."""
    task = a_task(
        messages=(
            {"role": "user", "content": "route me"},
            {"role": "assistant", "content": "route me"},
            {"role": "user", "content": "no"},
        )
    )

    assert matched(task, {"match": {"regex": "route me"}}) is None


def test_a_pattern_that_blows_up_elsewhere_is_searched_in_linear_time():
    assert matched(a_task("a" * 200_000), {"match": {"regex": "(a+)+$"}}) == "r0"
    assert matched(a_task("a" * 200_000 + "b"), {"match": {"regex": "^(a+)+$"}}) is None


@pytest.mark.parametrize("regex", ["(", "(?=x)", "a{100000}", r"(a)\1", "[z-a]"])
def test_a_pattern_that_re2_refuses_is_named_by_its_key(regex):
    settings = RouteSettings.model_validate({"name": "x", "match": {"regex": regex}})

    with pytest.raises(ConfigError, match=r"^routes\[2\]\.match\.regex is not an RE2 pattern: "):
        compile_route(settings, 2, ())


def test_a_half_character_in_a_prompt_is_no_fault():
    assert matched(a_task("what\ud800 now"), {"match": {"regex": "what"}}) == "r0"


def test_a_route_fills_in_what_the_request_left_open_and_nothing_else():
    (route,) = routes({"rule": "esc", "effort": "high", "on_unverified": "error"})
    task = a_task(options=Options(effort="low", asked=("effort",)))
    options = with_route(task, route.route).options

    assert (options.rule, options.effort, options.on_unverified) == ("esc", "low", "error")
    assert with_route(task, None) is task
    assert with_route(task, routes({})[0].route) is task
