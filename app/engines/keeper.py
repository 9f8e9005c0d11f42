"""Between the gateway and a server that it runs: ends the server when the gateway is gone.

Started by its path, so it imports nothing of the gateway. It reads one line of JSON, starts the
server in a process group of its own, answers with one line of JSON, and ends with the server's
status. When its standard input is closed, by the gateway or by the gateway's death whatever the
cause, the group gets SIGTERM and, `grace_s` later, SIGKILL. On Linux the server dies with the
keeper too. It does not find a process that left the group.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def main() -> int:
    """Run the job of the first line: `command`, `environment`, `folder`, `log` and `grace_s`."""
    job = json.loads(sys.stdin.readline())
    try:
        with open(job["log"], "ab") as log:
            server = subprocess.Popen(
                job["command"],
                env=job["environment"],
                cwd=job["folder"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Safe here and not in the gateway: this process has one thread so far.
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
    except OSError as refused:
        tell({"error": f"{refused.filename or job['command'][0]}: {refused.strerror}"})
        return 1
    tell({"pid": server.pid})
    threading.Thread(target=end_when_alone, args=(server.pid, job["grace_s"]), daemon=True).start()
    status = server.wait()
    end(server.pid, signal.SIGKILL)  # what the server started and left behind
    return status if status >= 0 else 128 - status


def tell(said: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_when_alone(group: int, grace_s: float) -> None:
    sys.stdin.read()
    end(group, signal.SIGTERM)
    time.sleep(grace_s)
    end(group, signal.SIGKILL)


def end(group: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, how)


if __name__ == "__main__":
    sys.exit(main())
