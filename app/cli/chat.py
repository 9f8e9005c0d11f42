"""`verivote chat`: ask a gateway from the terminal and see how the answer was reached.

A client like any other: it talks HTTP and imports nothing of the server.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
import typer

from app.cli import FAILED, UNAVAILABLE

cli = typer.Typer(add_completion=False, rich_markup_mode=None)

DEFAULT_URL = "http://127.0.0.1:8080/v1"


@cli.command()
def chat(
    prompt: Annotated[
        str | None, typer.Argument(help="One question; without it, a conversation.")
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="OPENAI_BASE_URL", help="Gateway, up to /v1.")
    ] = DEFAULT_URL,
    model: Annotated[str, typer.Option(help="Model or alias to ask for.")] = "auto",
) -> None:
    """Ask the gateway from the terminal."""
    key = os.environ.get("OPENAI_API_KEY", "")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    timeout = httpx.Timeout(10.0, read=300.0)
    with httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout) as client:
        talk = Talk(client, model)
        if prompt is not None:
            talk.ask(prompt)
            return
        typer.echo(f"talking to {url}; Ctrl-D ends", err=True)
        for line in _lines():
            talk.ask(line)


@dataclass
class Talk:
    """A conversation: what was said so far and whom to ask."""

    client: httpx.Client
    model: str
    messages: list[Mapping[str, str]] = field(default_factory=list)

    def ask(self, question: str) -> None:
        """Print the answer as it arrives, then the line that says how sure it is."""
        self.messages.append({"role": "user", "content": question})
        said, verification = "", dict[str, Any]()
        for piece in self._stream():
            said += piece.content
            verification |= piece.verification
            typer.echo(printable(piece.content), nl=False)
        typer.echo()
        self.messages.append({"role": "assistant", "content": said})
        typer.echo(status_line(verification, str(self.client.base_url)), err=True)

    def _stream(self) -> Iterator[Piece]:
        body = {"model": self.model, "messages": self.messages, "stream": True}
        try:
            with self.client.stream("POST", "/chat/completions", json=body) as reply:
                if reply.status_code != 200:
                    raise _failed(_error_text(reply.read(), reply.status_code), FAILED)
                for line in reply.iter_lines():
                    if line.startswith("data: ") and line != "data: [DONE]":
                        yield Piece.parse(json.loads(line[6:]))
        except httpx.TransportError as away:
            where, why = self.client.base_url, str(away) or type(away).__name__
            raise _failed(f"no gateway at {where}: {why}", UNAVAILABLE) from None


@dataclass(frozen=True)
class Piece:
    """What one chunk of the stream adds."""

    content: str
    verification: Mapping[str, Any]

    @classmethod
    def parse(cls, chunk: Mapping[str, Any]) -> Piece:
        if "error" in chunk:
            raise _failed(chunk["error"]["message"], FAILED)
        deltas = [choice["delta"] for choice in chunk["choices"] if choice["index"] == 0]
        content = "".join(delta.get("content") or "" for delta in deltas)
        return cls(content, chunk.get("verification") or {})


def printable(text: str) -> str:
    """Model text without control characters: it must not steer the terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf"))


def status_line(verification: Mapping[str, Any], url: str) -> str:
    """`verified · 3 samples · votes 56: 3 · http://…/traces/chatcmpl-…`."""
    if "status" not in verification:
        return "this server says nothing about verification"
    samples = verification["samples"]
    parts = [verification["status"], f"{samples} sample{'' if samples == 1 else 's'}"]
    if votes := verification.get("votes"):
        counted = ", ".join(f"{answer}: {count}" for answer, count in votes.items())
        parts.append(f"votes {counted}")
    root = url.rstrip("/").removesuffix("/v1")
    return printable(" · ".join((*parts, f"{root}/traces/{verification['trace_id']}")))


def _lines() -> Iterator[str]:
    """Questions typed or piped in, until the end of input."""
    while True:
        if sys.stdin.isatty():
            typer.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _error_text(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status} and no reason"


def _failed(message: str, code: int) -> typer.Exit:
    typer.echo(f"verivote: {message}", err=True)
    return typer.Exit(code)
