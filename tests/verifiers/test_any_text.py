"""No text makes these kinds raise: an exception would be an error where a verdict is due."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.tables import candidate_of
from tests.verifiers.test_constraints import example_arguments
from verifiers.base import Answer, Check, get_verifier
from verifiers.findings import from_wire, to_wire
from verifiers.kinds.constraint_checks.instruction import known_ids
from verifiers.kinds.constraint_checks.prompt import find_constraints

PIECES = st.sampled_from(
    [
        *("\n", "\n\n", " ", "* ", "- ", "***", "******", '"', "'", "<<", ">>", "[", "]", "1. "),
        *("SECTION 1", "P.S.", "{}", "</think>", "<think>", "Question 1:", "a", "\ud800", "😀"),
        *(
            "%",
            "%4",
            "&#",
            "&#x110000;",
            "\\u",
            "\\U0011ffff",
            "\\ud83d",
            "ab" * 9,
            "=",
            "@",
            "://",
        ),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=30).map("".join)
OPTIONS = {
    "constraints": {
        "instructions": [{"id": id, **example_arguments(id)} for id in known_ids()[:50]]
    },
    "constraints_more": {
        "instructions": [{"id": id, **example_arguments(id)} for id in known_ids()[50:]]
    },
    "format": {"min_steps": 2, "min_scratchpad": 2},
    "format_tags": {},
    "format_json": {"json_only": True},
    "policy": {
        "forbid": ["pii", "secrets"],
        "allowed_hosts": ["example.org"],
        "forbidden_topics": ["abab"],
    },
}


@pytest.mark.parametrize("kind", OPTIONS)
@settings(max_examples=80, deadline=None)
@given(text=TEXTS)
def test_every_text_gets_a_valid_finding(kind, text):
    verifier = get_verifier(kind.partition("_")[0])
    prepared = verifier.prepare(OPTIONS[kind], Check())

    finding = verifier.verify(
        prepared, candidate_of({"completion": text}), Answer(kind="none", rule=None)
    )

    assert from_wire(to_wire(finding)).status == finding.status


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_every_prompt_can_be_read(text):
    assert find_constraints(text + " Your response must use at least 5 words.") is not None
