"""What a test needs beyond Python: it is there, or the test says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = ROOT / ".build"
"""Where make puts what only some tests need."""


def require(part: object, message: str) -> None:
    """Go on when `part` is true. A missing part skips here and fails in continuous integration."""
    if part:
        return
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
