"""What vLLM shows of itself over HTTP, without a model.

FAKE_VLLM names a folder. `orders` in it has one line a launch, the last of which stays: words of
`crash` (before it listens), `slow` (half a second), `deaf` (never listens), `sick` (never healthy),
`stubborn` (ignores SIGTERM), `child` (starts another process). Each launch adds a JSON line to
`launches` there: its arguments, environment and process ids.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

LAST_WORDS = """\
(EngineCore pid=7) ERROR 11-28 ValueError: no memory for the cache of the model
RuntimeError: Engine core initialization failed. See root cause above.
"""
FOLDER = Path(os.environ["FAKE_VLLM"])


class Handler(BaseHTTPRequestHandler):
    """Answers as version 0.32 was measured to."""

    protocol_version = "HTTP/1.1"
    served = ""
    adapters: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        if self.path == "/health":
            self.reply(503 if (FOLDER / "sick").exists() or "sick" in ORDER else 200, {})
        elif self.path == "/v1/models" and self.is_let_in():
            base = {"id": self.served, "owned_by": "vllm", "root": "/m", "parent": None}
            loaded = [
                {**base, "id": name, "root": path, "parent": self.served}
                for name, path in self.adapters.items()
            ]
            self.reply(200, {"object": "list", "data": [base, *loaded]})
        elif self.path == "/version":
            self.reply(200, {"version": "0.32.0"})
        elif not self.path.startswith("/v1"):
            self.reply(200, {"secret": "a page for operators"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        if self.path == "/tokenize":
            said = body["prompt"] if "prompt" in body else json.dumps(body["messages"])
            ids = list(said.encode())
            self.reply(200, {"count": len(ids), "max_model_len": 2048, "tokens": ids})
        elif not self.path.startswith("/v1"):
            self.reply(200, {"secret": "a route for operators"})
        elif not self.is_let_in():
            return
        elif self.path.endswith("load_lora_adapter") and "lora_name" not in body:
            self.fail(400, "Field required")
        elif self.path == "/v1/load_lora_adapter" and (FOLDER / "adapters_are_lost").exists():
            self.fail(404, f"No adapter found for {body['lora_path']}")
        elif self.path == "/v1/load_lora_adapter":
            self.adapters[body["lora_name"]] = body["lora_path"]
            self.reply(200, "Success")
        elif self.path == "/v1/unload_lora_adapter":
            self.adapters.pop(body["lora_name"], None)
            self.reply(200, "Success")
        elif body["model"] in (self.served, *self.adapters):
            self.reply(200, completion(body))
        else:
            self.fail(404, f"The model `{body['model']}` does not exist.")

    def is_let_in(self) -> bool:
        if self.headers.get("authorization") == f"Bearer {os.environ['VLLM_API_KEY']}":
            return True
        self.fail(401, "Unauthorized")
        return False

    def fail(self, status: int, message: str) -> None:
        self.reply(status, {"error": {"message": message, "type": "error", "code": status}})

    def reply(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """No log of requests."""


def completion(body: dict[str, Any]) -> dict[str, Any]:
    mu = -0.5 * (body.get("temperature") or 1.0)
    entry = {"token": "4", "logprob": mu, "bytes": [52]}
    entry["top_logprobs"] = [dict(entry)]
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": "4"},
            "finish_reason": "stop",
            "logprobs": {"content": [entry]},
            "token_ids": [52],
        }
        for i in range(body.get("n") or 1)
    ]
    used = {"prompt_tokens": 3, "completion_tokens": len(choices), "total_tokens": 0}
    return {
        "id": "cmpl",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "prompt_token_ids": [1, 2, 3],
        "choices": choices,
        "usage": used,
    }


def order_of(launch: int) -> list[str]:
    orders = FOLDER / "orders"
    lines = orders.read_text().splitlines() if orders.exists() else [""]
    return lines[min(launch, len(lines) - 1)].split()


def main() -> None:
    launches = FOLDER / "launches"
    before = len(launches.read_text().splitlines()) if launches.exists() else 0
    global ORDER
    ORDER = order_of(before)
    child = subprocess.Popen(["sleep", "300"]).pid if "child" in ORDER else None
    told = {"argv": sys.argv[1:], "pid": os.getpid(), "child": child, "cwd": os.getcwd()}
    with launches.open("a") as file:
        file.write(json.dumps({**told, "environ": dict(os.environ)}) + "\n")
    if "crash" in ORDER:
        sys.stderr.write(LAST_WORDS)
        raise SystemExit(1)
    if "stubborn" in ORDER:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "slow" in ORDER:
        time.sleep(0.5)
    if "deaf" in ORDER:
        time.sleep(300)
    options = argparse.ArgumentParser()
    for name in ("--served-model-name", "--host", "--port"):
        options.add_argument(name)
    known, _ = options.parse_known_args()
    Handler.served = known.served_model_name
    ThreadingHTTPServer.allow_reuse_address = False
    ThreadingHTTPServer((known.host, int(known.port)), Handler).serve_forever()


ORDER: list[str] = []

if __name__ == "__main__":
    main()
