"""What a client may not learn leaves no trace in what it is shown."""

from __future__ import annotations

from dataclasses import replace

from app.api.hidden import without_hidden
from app.group import Decision
from tests.builders import a_group, a_plan, a_ref, a_scored


def test_a_hidden_verifier_has_no_name_in_any_stage() -> None:
    hidden = replace(a_ref(), name="secret_check", hidden=True)
    first = a_group(a_scored(0, "42"), plan=a_plan(verifiers=(hidden,)))
    decided = first.with_decision(Decision(status="unverified", winner=0))
    group = decided.next_stage(a_plan(verifiers=(hidden,)))

    for seen in (group, group.with_decision(Decision(status="unverified", winner=0))):
        assert b"secret_check" in seen.to_json()
        assert b"secret_check" not in without_hidden(seen).to_json()
    back = group.with_decision(Decision(status="unverified", winner=0)).previous_stage()
    assert b"secret_check" not in without_hidden(back).to_json()
