from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from verifiers.run import Runner


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    runner = Runner(deadline_ms=20_000)
    yield runner
    await runner.close()
