from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from verifiers.run import Runner


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    runner = Runner(deadline_ms=20_000)
    yield runner
    await runner.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers() -> AsyncIterator[Runner]:
    """One runner for all rows of a table: starting a worker costs more than its judging.

    For tests on the loop of their module.
    """
    runner = Runner(deadline_ms=20_000, workers=1)
    yield runner
    await runner.close()
