"""What every room's tests may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningGateway, running_gateway, settings_for


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., RunningGateway]]:
    """`gateway(upstream, **sections)` starts one; upstream None is the small real model."""
    with ExitStack() as stack:

        def start(upstream: str | None, **sections: Mapping[str, Any]) -> RunningGateway:
            settings = settings_for(tmp_path / "data", upstream, **sections)
            return stack.enter_context(running_gateway(settings))

        yield start
