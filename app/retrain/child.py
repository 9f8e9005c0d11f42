"""`python -m app.retrain.child NICE PARENT COMMAND…`: run a command that ends when its parent does.

The trainer must not outlive the gateway that waits for it: whoever takes the night over starts
another one in the same folder. On Linux the kernel sees to it; elsewhere a gateway that is killed
leaves the trainer running to its end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    nice, parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)  # it died before the kernel knew
    os.nice(int(nice))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
