"""The inside of the model process: llama.cpp's own HTTP server around one model file.

Started by its path, so it imports nothing of the gateway. It reads one line of JSON, answers with
one line of JSON, and then serves until its standard input is closed, which is also how it notices
that its parent is gone. It decides nothing: who may ask, and what, is the gateway's business.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

COMPLETION_TOKENS = 256
"""Where a request sets no limit: a model this small often repeats itself and never ends."""
MAX_THREADS = 8
"""A model this small gains nothing from more."""


def main() -> None:
    """Serve the model that the first line describes: `path`, `model`, `alias`, `api_key`, `port`,
    `slots`, `slot_tokens` and `memory_bytes`."""
    job = json.loads(sys.stdin.readline())
    # llama.cpp prints to both descriptors whatever its log level; the parent listens to a copy.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as reply:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        sys.path[:] = job["path"]
        _limit(job["memory_bytes"])
        try:
            server = _serve(job)
        except Exception as failed:
            reply.write(json.dumps({"error": str(failed) or type(failed).__name__}) + "\n")
            return
        reply.write(json.dumps({"address": server.listening_address}) + "\n")
    sys.stdin.read()
    # Not by return: that would wait for every generation to end.
    os._exit(0)


def _limit(memory_bytes: int) -> None:
    """A hostile schema may grow without bound: then this process ends, not the machine."""
    with suppress(ValueError, OSError):  # not every system has these limits
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve(job: Mapping[str, Any]) -> Any:
    """A listening server with the model loaded. Raises what llama.cpp raises."""
    xllamacpp = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = job["model"]
    params.model_alias = {job["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = job["port"]
    params.api_keys = [job["api_key"]]
    params.verbosity = -1
    params.ui = False
    params.endpoint_slots = True
    params.n_parallel = job["slots"]
    params.n_ctx = job["slots"] * job["slot_tokens"]
    params.n_predict = COMPLETION_TOKENS
    # Prompts of finished requests are kept in their slot only, not in memory beside it.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    # Without these llama.cpp cuts the distribution, and its logprobs are not those of the draw.
    params.sampling.top_k = 0
    params.sampling.top_p = 1.0
    params.sampling.min_p = 0.0
    threads = min(MAX_THREADS, _cpus())
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    return xllamacpp.Server(params)


def _cpus() -> int:
    """Processors that this process may use; llama.cpp itself counts only physical cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    main()
