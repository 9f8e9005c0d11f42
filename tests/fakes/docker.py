"""A `docker` without a daemon: it runs the container's command here, as a child of its own.

What it was called with goes to the file that DOCKER_LOG names. The image orders how it behaves:
`away`, `missing`, `silent` and `garbage` are faults; any other one works.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

AWAY = (
    "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
    "Is the docker daemon running?\n\nRun 'docker run --help' for more information\n"
)
MISSING = "docker: Error response from daemon: No such image: verivote:none.\n"


def main() -> None:
    with open(os.environ["DOCKER_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps({"args": sys.argv[1:], "environ": dict(os.environ)}) + "\n")
    if sys.argv[1] != "run":
        return
    at = sys.argv.index("--entrypoint") + 2
    image, command = sys.argv[at], sys.argv[at + 1 :]
    if image in ("away", "missing"):
        sys.stderr.write(AWAY if image == "away" else MISSING)
        sys.exit(125)
    if image == "silent":
        time.sleep(3600)
    if image == "garbage":
        sys.stdout.write("\0\0\0\5hello")
        return
    sys.exit(attach([sys.executable, *command]))


def attach(command: list[str]) -> int:
    """Between its own pipes and the container's, as the real client: they close when it dies."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env={}, stdin=pipe, stdout=pipe, bufsize=0) as container:
        assert container.stdin is not None
        assert container.stdout is not None
        threading.Thread(target=copy, args=(0, container.stdin.fileno()), daemon=True).start()
        copy(container.stdout.fileno(), 1)
    return container.returncode


def copy(source: int, target: int) -> None:
    while part := os.read(source, 65_536):
        os.write(target, part)


if __name__ == "__main__":
    main()
