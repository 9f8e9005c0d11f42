"""Modules whose every test needs torch are not even imported where nobody asked for them."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ALL_OF_IT = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.train", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if collection_path.suffix != ".py" or not ALL_OF_IT.search(collection_path.read_text()):
        return None
    unasked = "not train" in config.option.markexpr
    missing = find_spec("torch") is None and not os.environ.get("CI")
    return True if unasked or missing else None
