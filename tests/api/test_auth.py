"""Sessions as values; keys and scopes through a real gateway."""

from __future__ import annotations

import pytest

from app.api.auth import Tenant, sign_session, verify_session

ADA = Tenant(name="ada", scopes=("infer", "traces:read"), key_id="k1")


def test_a_session_is_who_signed_in_until_it_expires() -> None:
    token = sign_session(b"secret", ADA, expires_at=100.0)

    assert verify_session(b"secret", token, now=99.0) == ADA
    assert verify_session(b"secret", token, now=100.0) is None
    assert verify_session(b"other", token, now=99.0) is None


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_touched_session_is_nobody(place: int) -> None:
    token = sign_session(b"secret", ADA, expires_at=100.0)
    other = "A" if token[place] != "A" else "B"
    touched = token[:place] + other + (token[place + 1 :] if place != -1 else "")

    assert verify_session(b"secret", touched, now=0.0) is None


@pytest.mark.parametrize("token", ["", ".", "a.b", "é.é", "=.=", "e30.", "\x00"])
def test_any_other_text_is_nobody(token: str) -> None:
    assert verify_session(b"secret", token, now=0.0) is None


def test_only_an_administrator_sees_every_tenant() -> None:
    assert ADA.sees == "ada"
    assert Tenant(name="ada", scopes=("admin",)).sees is None
