"""One job inside of a container: read it from stdin, run it in the local sandbox, write the report.

Run as a file, so that nothing of the package is loaded but the sandbox. Ends when the job is done,
and also when stdin is closed: then whoever asked is gone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import types
from collections.abc import Mapping
from typing import Any

STDIN, STDOUT = 0, 1


def main() -> None:
    package = types.ModuleType("verifiers")
    package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules["verifiers"] = package
    from verifiers.sandbox import pipes

    try:
        request = pipes.receive_value(STDIN)
        pipes.send_value(STDOUT, asyncio.run(_answer(request)))
    except pipes.Closed:
        sys.exit(1)


async def _answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """`body` and `run_ms`, or `unavailable` with the reason, or `timeout`."""
    from verifiers.sandbox.engine import SandboxTimeout, SandboxUnavailable
    from verifiers.sandbox.local import LocalEngine

    engine = LocalEngine(size=1, spares=0)
    gone = asyncio.create_task(_closed(STDIN))
    work = asyncio.create_task(engine.run(request["job"], request["deadline_ms"]))
    try:
        await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
            return {"unavailable": "nobody waits for it"}
        report = work.result()
    except SandboxUnavailable as missing:
        return {"unavailable": str(missing)}
    except SandboxTimeout:
        return {"timeout": True}
    finally:
        gone.cancel()
        await engine.close()
    return {"body": dict(report.body), "run_ms": report.run_ms}


async def _closed(fd: int) -> None:
    """Returns when the other side closes it; nothing more is expected from there."""
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)


if __name__ == "__main__":
    main()
