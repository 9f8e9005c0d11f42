"""What a test needs beyond Python: it is there, or the test says so."""

from __future__ import annotations

import os

import pytest


def require(part: object, message: str) -> None:
    """Go on when `part` is true. A missing part skips here and fails in continuous integration."""
    if part:
        return
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
