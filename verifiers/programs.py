"""A program that a model wrote instead of an answer: run it; what it prints is what it says.

It runs in the sandbox like any code of a model. Nothing here judges the answer.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from verifiers.base import SandboxJob
from verifiers.sandbox.engine import Engine, SandboxTimeout, SandboxUnavailable

MAX_PROGRAM_CHARS = 50_000
UNAVAILABLE = "sandbox_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRun:
    """What came of running a program."""

    output: str = ""
    """The last line that it printed, else what it called `answer`; empty with a fault."""
    fault: str = ""
    """Why there is no output: `timeout`, `no_output`, `program_raised: ZeroDivisionError`,
    `sandbox_unavailable`, …; empty when it ran well."""
    wait_ms: float = 0.0
    """Until the sandbox had a place; not part of the limit."""
    run_ms: float = 0.0


class Programs:
    """Runs programs in a sandbox, and knows whether it can."""

    def __init__(self, sandbox: Engine, *, deadline_ms: float) -> None:
        self._sandbox = sandbox
        self._deadline_ms = deadline_ms
        self._has_run = False

    async def why_none(self) -> str:
        """Why no program can be run here; empty when one can. The first call tries it."""
        if not self._has_run:
            tried = await self.run("print(1)")
            return "" if tried.output == "1" else tried.fault or "the sandbox does not work"
        return ""

    async def run(self, source: str) -> ProgramRun:
        """Run it without input. Never raises for what a model wrote."""
        if len(source) > MAX_PROGRAM_CHARS:
            return ProgramRun(fault="too_long")
        job = json.loads(json.dumps(asdict(SandboxJob(source=source, probes=("",), load=False))))
        try:
            report = await self._sandbox.run(job, self._deadline_ms)
        except SandboxUnavailable:
            self._has_run = False
            return ProgramRun(fault=UNAVAILABLE)
        except SandboxTimeout:
            return ProgramRun(fault="timeout", run_ms=self._deadline_ms)
        except Exception as raised:  # a text that no process can be handed
            return ProgramRun(fault=f"bad_program: {type(raised).__name__}")
        self._has_run = True
        output, fault = _read(report.body)
        return ProgramRun(output=output, fault=fault, wait_ms=report.wait_ms, run_ms=report.run_ms)


def _read(body: Mapping[str, Any]) -> tuple[str, str]:
    """Output and fault of the one run that the sandbox reports."""
    try:
        run = body["runs"][0]
        fault, observed = str(run["fault"]), run["observed"]
        output = str(observed[0]) if observed else ""
    except (KeyError, IndexError, TypeError):
        return "", "sandbox_failed"
    if output.startswith("!"):
        # Only the name of a built-in exception: whatever else is said may quote what was asked.
        name = output.removeprefix("!").strip().partition(":")[0]
        return "", f"program_raised: {name}" if hasattr(builtins, name) else "program_raised"
    if fault or not output:
        return "", fault or "no_output"
    return output, ""
