"""A fake model server that misbehaves on order, on a free port of loopback.

    async with FakeUpstream(scripted("4", "5")) as fake: ...      # inside a test
    python tests/fakes/upstream.py [--mode instant|scripted|hold] [--port N]   # as a process

It is a real HTTP server: it logs every request, and when each socket opened and closed. What it
answers is a list of steps per request (bytes, a pause, a cut), so that any fault can be ordered.
`instant` answers with prepared bytes and almost no CPU, for measuring what is in front of it.
It does not sample, and its token ids and logprobs are made up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import orjson
import uvloop


@dataclass(frozen=True)
class Pause:
    """Wait, with the socket open."""

    seconds: float


HOLD = Pause(3600)
"""Never go on; only the other side can end it."""


@dataclass(frozen=True)
class Cut:
    """Close the socket in the middle of the reply; `reset` sends RST instead of FIN."""

    reset: bool = False


Step = bytes | Pause | Cut


@dataclass(frozen=True)
class Steps:
    """One reply. Without a length it is chunked; `before` comes before the status line."""

    steps: tuple[Step, ...]
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    before: tuple[Step, ...] = ()
    raw: bool = False
    """The steps are everything that is sent, status line included."""


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    socket: int


@dataclass
class Socket:
    """When a connection opened and closed, in seconds of the monotonic clock."""

    opened_at: float
    closed_at: float | None = None


Behaviour = Callable[[Request], Steps]


# Replies ----------------------------------------------------------------------------------------


def json_reply(value: Any, status: int = 200, **headers: str) -> Steps:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Steps((orjson.dumps(value),), status=status, headers=named)


def error_reply(
    status: int, message: str, *, code: Any = None, param: str | None = None, **headers: str
) -> Steps:
    error = {"message": message, "type": "error", "param": param, "code": code}
    return json_reply({"error": error}, status, **headers)


def events(*payloads: Any, done: bool = True, then: Sequence[Step] = ()) -> Steps:
    """A stream: a mapping becomes a `data:` line, bytes go out as they are, pauses wait."""
    steps: list[Step] = []
    for payload in payloads:
        if isinstance(payload, Mapping):
            payload = b"data: " + orjson.dumps(payload) + b"\n\n"
        steps.append(payload)
    if done:
        steps.append(b"data: [DONE]\n\n")
    return Steps((*steps, *then), content_type="text/event-stream")


def chunk(*choices: Mapping[str, Any], **top: Any) -> dict[str, Any]:
    """One `chat.completion.chunk`."""
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m"}
    return {**head, "choices": list(choices), **top}


def piece(
    content: str | None = None, *, index: int = 0, finish: str | None = None, **more: Any
) -> dict[str, Any]:
    """One `choices[]` element of a chunk."""
    delta = {} if content is None else {"content": content}
    return {"index": index, "delta": delta, "finish_reason": finish, **more}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def model_list(*ids: str, owned_by: str = "fake") -> Steps:
    models = [{"id": i, "object": "model", "created": 1, "owned_by": owned_by} for i in ids]
    return json_reply({"object": "list", "data": models})


# Behaviours -------------------------------------------------------------------------------------


def scripted(
    *texts: str,
    finish: str = "stop",
    ignores_n: bool = False,
    extras: bool = False,
    word_s: float = 0.0,
) -> Behaviour:
    """Choice i of the j-th request says the next text in turn, word by word when streamed.

    `extras`: token ids and logprobs where asked for, as vLLM sends them. `word_s`: seconds between
    words. A word counts as a token.
    """
    said = 0

    def answer(request: Request) -> Steps:
        nonlocal said
        asked = request.body
        n = 1 if ignores_n else asked.get("n") or 1
        chosen = [texts[(said + i) % len(texts)] for i in range(n)]
        said += n
        tokens = [text.split(" ") for text in chosen]
        paid = usage(7, sum(map(len, tokens)))
        top: dict[str, Any] = {"model": asked.get("model", "m")}
        if extras and asked.get("return_token_ids"):
            top["prompt_token_ids"] = list(range(7))
        if not asked.get("stream"):
            whole = [
                {
                    "index": i,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": finish,
                    **(_extras(asked, tokens[i]) if extras else {}),
                }
                for i, text in enumerate(chosen)
            ]
            return json_reply({**chunk(*whole, **top), "object": "chat.completion", "usage": paid})
        parts: list[Any] = [
            chunk({"index": i, "delta": {"role": "assistant", "content": ""}}, **top)
            for i in range(n)
        ]
        for at in range(max(map(len, tokens))):
            if word_s:
                parts.append(Pause(word_s))
            for i, words in enumerate(tokens):
                if at < len(words):
                    word = words[at] if at == 0 else " " + words[at]
                    ended = finish if at == len(words) - 1 else None
                    more = _extras(asked, [words[at]]) if extras else {}
                    parts.append(chunk(piece(word, index=i, finish=ended, **more), **top))
        if (asked.get("stream_options") or {}).get("include_usage"):
            parts.append(chunk(usage=paid))
        return events(*parts)

    return answer


def _extras(asked: Mapping[str, Any], words: Iterable[str]) -> dict[str, Any]:
    words = list(words)
    found: dict[str, Any] = {}
    if asked.get("return_token_ids"):
        found["token_ids"] = [sum(word.encode()) for word in words]
    if asked.get("logprobs"):
        entries = [{"token": w, "logprob": -0.5, "bytes": list(w.encode())} for w in words]
        found["logprobs"] = {"content": entries, "refusal": None}
    return found


def always(steps: Steps) -> Behaviour:
    return lambda request: steps


def in_turn(*behaviours: Behaviour | Steps) -> Behaviour:
    """One after the other, the last for ever: `in_turn(error_reply(503, "busy"), scripted("4"))`"""
    left = list(behaviours)

    def answer(request: Request) -> Steps:
        behaviour = left.pop(0) if len(left) > 1 else left[0]
        return behaviour if isinstance(behaviour, Steps) else behaviour(request)

    return answer


def holding(after_head: bool = False) -> Behaviour:
    """Accept the request and never send a byte, or never one of the body."""
    if after_head:
        return always(Steps((HOLD,), content_type="text/event-stream"))
    return always(Steps((), before=(HOLD,)))


def refusing(*fields: str, otherwise: Behaviour, status: int = 400) -> Behaviour:
    """400 for a request that has one of these fields, naming the first."""

    def answer(request: Request) -> Steps:
        for name in fields:
            if name in request.body:
                return error_reply(status, f"Unrecognized request argument: {name}", param=name)
        return otherwise(request)

    return answer


# The server -------------------------------------------------------------------------------------


class FakeUpstream:
    """Serves one behaviour for completions, one for the model list, one for adapters and one for
    what vLLM has beside `/v1`; all may be replaced. Unless told otherwise it has no adapters and
    nothing beside `/v1`, as most servers."""

    def __init__(self, completions: Behaviour, models: Behaviour | None = None) -> None:
        self.completions = completions
        self.adapters: Behaviour = always(json_reply({"detail": "Not Found"}, 404))
        self.beside_v1: Behaviour = always(json_reply({"detail": "Not Found"}, 404))
        self.models = models or always(model_list("m"))
        self.requests: list[Request] = []
        self.sockets: list[Socket] = []
        self.url = ""
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    async def __aenter__(self) -> FakeUpstream:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._open):
            connection.abort()
        await self._server.wait_closed()

    @property
    def drawn(self) -> list[Request]:
        """The requests for completions."""
        return [
            request
            for request in self.requests
            if request.method == "POST"
            and request.path.startswith("/v1")
            and not request.path.endswith("_lora_adapter")
        ]

    @property
    def open_sockets(self) -> int:
        return sum(socket.closed_at is None for socket in self.sockets)

    async def until(self, is_so: Callable[[], bool], within_s: float = 5.0) -> bool:
        """Wait until it is so; False when it was not within the time."""
        end = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.005)
        return True

    def answer(self, request: Request) -> Steps:
        self.requests.append(request)
        if not request.path.startswith("/v1"):
            return self.beside_v1(request)
        if request.method == "GET":
            return self.models(request)
        if request.path.endswith("_lora_adapter"):
            return self.adapters(request)
        return self.completions(request)


class _Connection(asyncio.Protocol):
    """One socket: requests are answered one after the other."""

    def __init__(self, fake: FakeUpstream) -> None:
        self._fake = fake
        self._socket = Socket(time.monotonic())
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._headers: dict[str, str] = {}
        self._target = b""
        self._body = b""
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because the transports of uvloop do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._number = len(self._fake.sockets)
        self._fake.sockets.append(self._socket)
        self._fake._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._socket.closed_at = time.monotonic()
        self._fake._open.discard(self)
        if self._answering is not None:
            self._answering.cancel()

    def abort(self) -> None:
        assert self._transport is not None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def on_message_begin(self) -> None:
        self._headers, self._target, self._body = {}, b"", b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        request = Request(
            method=self._parser.get_method().decode(),
            path=self._target.decode(),
            headers=self._headers,
            body=json.loads(self._body) if self._body else {},
            at=time.monotonic(),
            socket=self._number,
        )
        steps = self._fake.answer(request)
        self._answering = asyncio.get_running_loop().create_task(self._answer(steps))

    async def _answer(self, reply: Steps) -> None:
        assert self._transport is not None
        if not await self._play(reply.before, raw=True):
            return
        if reply.raw:
            await self._play(reply.steps, raw=True)
            self._transport.close()
            return
        length = sum(len(step) for step in reply.steps if isinstance(step, bytes))
        chunked = reply.content_type == "text/event-stream" or len(reply.steps) != 1
        framing = "transfer-encoding: chunked" if chunked else f"content-length: {length}"
        lines = [f"HTTP/1.1 {reply.status} Fake", framing]
        if reply.content_type:
            lines.append(f"content-type: {reply.content_type}")
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        self._transport.write("\r\n".join([*lines, "", ""]).encode())
        if await self._play(reply.steps, raw=not chunked) and chunked:
            self._transport.write(b"0\r\n\r\n")

    async def _play(self, steps: Sequence[Step], *, raw: bool) -> bool:
        """False when the socket was closed."""
        assert self._transport is not None
        for step in steps:
            if isinstance(step, bytes):
                self._transport.write(step if raw else b"%x\r\n%b\r\n" % (len(step), step))
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            else:
                self._transport.abort() if step.reset else self._transport.close()
                return False
        return True


# The instant server -----------------------------------------------------------------------------


class Instant(asyncio.Protocol):
    """Prepared bytes for whole requests: no parsing beyond the length, no log."""

    STREAMED = (b'"stream":true', b'"stream": true')

    def __init__(self, whole: bytes, streamed: bytes, models: bytes) -> None:
        self._whole = whole
        self._streamed = streamed
        self._models = models
        self._left = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because the transports of uvloop do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        data = self._left + data
        while (head_end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:head_end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
            end = head_end + 4 + length
            if len(data) < end:
                break
            body = data[head_end + 4 : end]
            data = data[end:]
            if head.startswith(b"get"):
                self._transport.write(self._models)
            elif any(mark in body for mark in self.STREAMED):
                self._transport.write(self._streamed)
            else:
                self._transport.write(self._whole)
        self._left = data


def instant(words: int = 16) -> Callable[[], Instant]:
    """A protocol factory whose answer has this many words, one a piece when streamed."""
    text = " ".join(["word"] * words)
    request = Request("POST", "/v1/chat/completions", {}, {}, 0.0, 0)
    whole = _serialised(scripted(text)(request))
    request.body = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = _serialised(scripted(text)(request))
    models = _serialised(model_list("m"))
    return lambda: Instant(whole, streamed, models)


def _serialised(reply: Steps) -> bytes:
    body = b"".join(step for step in reply.steps if isinstance(step, bytes))
    framing = b"content-length: %d" % len(body)
    if reply.content_type == "text/event-stream":
        framing = b"transfer-encoding: chunked"
        body = b"".join(b"%x\r\n%b\r\n" % (len(s), s) for s in reply.steps if isinstance(s, bytes))
        body += b"0\r\n\r\n"
    kind = b"content-type: " + reply.content_type.encode()
    return b"\r\n".join([b"HTTP/1.1 200 OK", framing, kind, b"", body])


MODES: Mapping[str, Callable[[], Behaviour]] = {
    "scripted": lambda: scripted("4", "5", "4", "4"),
    "hold": holding,
}


async def serve(mode: str, port: int, words: int) -> None:
    """Serve until the process is ended; the address is the first line on standard output."""
    loop = asyncio.get_running_loop()
    if mode == "instant":
        factory: Callable[[], asyncio.Protocol] = instant(words)
    else:
        fake = FakeUpstream(MODES[mode]())
        factory = lambda: _Connection(fake)  # noqa: E731 — one of two factories
    server = await loop.create_server(factory, "127.0.0.1", port)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    print(address, flush=True)  # noqa: T201 — the address is this program's output
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--mode", choices=["instant", *MODES], default="instant")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--words", type=int, default=16, help="words of an instant answer")
    given = parser.parse_args()
    try:
        uvloop.run(serve(given.mode, given.port, given.words))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
