"""One scripted conversation through every client, streamed and not, reads the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import environment
from tests.parts import BUILD, require

CLIENTS = Path(__file__).with_name("clients")
TURNS = ["What is 7 * 8?", "Say «grüße, 世界 🎉» and nothing else.", "And what is 9 + 9?"]


def talk(command: list[str | Path], url: str, *, stream: bool) -> list[dict[str, Any]]:
    script = {
        "base_url": f"{url}/v1",
        "stream": stream,
        "turns": TURNS,
        "parameters": {"temperature": 0.0, "seed": 7, "max_tokens": 60},
        "extra": {"verify": {"mode": "off"}},
    }
    done = subprocess.run(
        command, input=json.dumps(script), env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def expected(embedded_url) -> list[dict[str, Any]]:
    """What the newest client reads without streaming."""
    return talk([sys.executable, CLIENTS / "talk_openai.py"], embedded_url, stream=False)


def test_the_conversation_says_something(expected):
    assert all(turn["text"] and sum(turn["usage"]) for turn in expected)
    assert all(turn["usage"][0] + turn["usage"][1] == turn["usage"][2] for turn in expected)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "client", ["openai-python 3", "openai-python 2", "langchain", "node 6", "node 7"]
)
def test_every_client_reads_the_same_text_and_usage(
    client_python, embedded_url, expected, client, stream
):
    if client.startswith("node"):
        node, package = shutil.which("node"), BUILD / "node/node_modules" / f"openai-{client[-1]}"
        require(node, "node is missing: install Node.js 20 or newer")
        require(package.exists(), f"{package} is missing: run make test-conformance")
        command = [str(node), CLIENTS / "talk.mjs", package]
    elif client == "langchain":
        command = [client_python("langchain"), CLIENTS / "talk_langchain.py"]
    elif client == "openai-python 2":
        command = [client_python("openai2"), CLIENTS / "talk_openai.py"]
    else:
        command = [sys.executable, CLIENTS / "talk_openai.py"]

    assert talk(command, embedded_url, stream=stream) == expected
