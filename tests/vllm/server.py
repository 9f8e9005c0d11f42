"""Start a real vLLM on a free port of loopback, and stop it.

`setup_vllm.py` makes the folder that it runs from. It takes both cores of a small machine while it
runs, so stop it soon.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY_S = 240.0
STOP_S = 20.0
MODEL = "smol"
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "2",
    # `auto` takes one core of two.
    "VLLM_CPU_OMP_THREADS_BIND": f"0-{(os.cpu_count() or 1) - 1}",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
FLAGS = (
    *("--served-model-name", MODEL, "--max-model-len", "2048", "--enforce-eager"),
    "--no-enable-chunked-prefill",  # or a seeded prompt that is read in two parts ends it
    *("--enable-lora", "--max-lora-rank", "16", "--logprobs-mode", "processed_logprobs"),
)


def is_set_up(folder: Path) -> bool:
    return (folder / "venv/verivote-vllm.json").exists() and (folder / "model/config.json").exists()


@contextmanager
def running_vllm(folder: Path, log: Path) -> Iterator[str]:
    """The address up to `/v1` of a server that answers. Raises RuntimeError with its last lines."""
    port = free_port()
    command = [str(folder / "venv/bin/python"), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(folder / "model"), *FLAGS]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        # A session of its own, so that its worker processes end with it.
        process = subprocess.Popen(
            command,
            env={**os.environ, **SETTINGS},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_ready(process, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            stop(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    raise RuntimeError(f"vLLM was not ready within {READY_S:g} s; its last lines:\n{last}")


def stop(process: subprocess.Popen[bytes]) -> None:
    group = process.pid
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, sign)
        except ProcessLookupError:
            return
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            continue
