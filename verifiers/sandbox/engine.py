"""The sandbox contract: a job in, a report out, and what may go wrong.

Back ends are `local.py` (processes of this machine, alone or inside bubblewrap) and `docker.py`;
`backends.py` makes the one that the settings name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class SandboxUnavailable(Exception):
    """Code cannot be run safely here; the message says what is missing."""


class SandboxTimeout(Exception):
    """The deadline passed while the tests were running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the test process said, and how long the parts took."""

    body: Mapping[str, Any] = field(default_factory=dict)
    """Empty when the test process ended without a report."""
    wait_ms: float = 0.0
    """Until a place was free."""
    run_ms: float = 0.0


class Engine(Protocol):
    """Runs a job (`verifiers.base.SandboxJob` as a mapping) where it can do no harm."""

    @property
    def fault(self) -> str:
        """Why nothing could be run at the last attempt; empty when it could, or none was made."""
        ...

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of everything that it started and that is not reaped."""
        ...

    async def run(self, job: Mapping[str, Any], deadline_ms: float) -> Report:
        """Run the job's tests. Raises `SandboxUnavailable` or `SandboxTimeout`."""
        ...

    async def close(self) -> None:
        """Kill everything and wait until it is gone."""
        ...
