"""One round on an OpenAI-compatible server: its calls, and the samples as they end.

Samples leave in the order in which they end, each exactly once: by iteration, or by `cancel`. An
unfinished sample (cut or cancelled) has no finish reason; nothing is made up for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx

from app.engines.base import DeltaSink
from app.engines.limits import InflightSamples
from app.engines.probe import Facts, Probe
from app.engines.reply import Reply
from app.engines.sse import SSEReader
from app.engines.trainable import PROGRAM, SPELLED_OUT, why_not
from app.engines.transport import TransportFault
from app.engines.upstream import Upstream, cut, read_capped
from app.engines.wire import build_body, cache_salt, read_json, write_json
from app.errors import EngineError, EngineGarbage, EngineRefused, EngineTimeout
from app.plan import Draw, Plan
from app.sample import Call, Sample, SampleKind
from app.task import Task

MAX_REPLY_BYTES = 32 * 2**20
TAIL_S = 0.5
"""How long a server may take to end a reply whose choices have all ended."""
CANCEL_S = 1.0
PATH = "/chat/completions"


class OpenAIDrawing:
    """Implements `Drawing`.

    Indexes of samples and calls count from `draw.first_index`, so they are unique in the group:
    a round never needs more calls than samples.
    """

    def __init__(
        self,
        task: Task,
        plan: Plan,
        draw: Draw,
        on_delta: DeltaSink | None,
        *,
        upstream: Upstream,
        probe: Probe,
        inflight: InflightSamples,
        clock: Callable[[], float],
    ) -> None:
        self._task = task
        self._plan = plan
        self._draw = draw
        self._on_delta = on_delta
        self._upstream = upstream
        self._probe = probe
        self._inflight = inflight
        self._clock = clock
        self._streamed = draw.n > 1 or on_delta is not None
        self._bases: dict[SampleKind, dict[str, Any]] = {}
        self._optional: dict[str, Any] = {}
        self._not_trainable = ""
        self._replies: list[Reply] = []
        self._ready: asyncio.Queue[Sample | None] = asyncio.Queue()
        self._work: asyncio.Task[None] | None = None
        self._errors: list[EngineError] = []
        self._ended = 0
        self._over = False

    def __aiter__(self) -> OpenAIDrawing:
        return self

    async def __anext__(self) -> Sample:
        if self._over:
            raise StopAsyncIteration
        if self._work is None:
            self._work = asyncio.create_task(self._draw_round())
        sample = await self._ready.get()
        if sample is not None:
            return sample
        self._over = True
        await asyncio.wait({self._work})
        if not self._work.cancelled():
            self._work.result()
        if self._ended == 0 and self._errors:
            raise self._errors[0]
        raise StopAsyncIteration

    async def cancel(self) -> tuple[Sample, ...]:
        """Close every socket now; returns the samples that iteration has not handed over.

        Those are the unfinished ones of which tokens were received, as `cancelled`, and any that
        ended unnoticed, as they are. A second call returns nothing.
        """
        self._over = True
        if self._work is not None and not self._work.done():
            self._work.cancel()
            await asyncio.wait({self._work}, timeout=CANCEL_S)
        left: list[Sample] = []
        while not self._ready.empty():
            sample = self._ready.get_nowait()
            if sample is not None:
                left.append(sample)
        for reply in self._replies:
            if reply.finished_ms is None:
                reply.finished_ms, reply.error = self._now_ms(), "cancelled"
            left.extend(reply.take_ended(reply.finished_ms, over=True))
            left.extend(reply.take_unfinished(reply.finished_ms, cancelled=True))
        return tuple(left)

    @property
    def calls(self) -> tuple[Call, ...]:
        now_ms = self._now_ms()
        return tuple(reply.to_call(now_ms) for reply in self._replies)

    def _now_ms(self) -> float:
        return (self._clock() - self._task.received_at) * 1000

    async def _draw_round(self) -> None:
        try:
            taken = await self._inflight.take(self._draw.n)
            try:
                facts = await self._probe.facts()
                self._prepare(facts)
                await self._fill_kinds(facts)
            finally:
                self._inflight.give_back(taken)
        finally:
            self._ready.put_nowait(None)

    def _prepare(self, facts: Facts) -> None:
        """What all calls of the round send alike, and whether their samples may be trained on."""
        task, plan = self._task, self._plan
        exact = facts.processed_logprobs or plan.temperature == 1
        self._not_trainable = why_not(task, plan, exact_logprobs=exact and facts.knows_extras)
        model = plan.policy or facts.model_for(task.alias, self._upstream.settings.model)
        kinds: tuple[SampleKind, ...] = ("text", "program") if self._draw.programs else ("text",)
        self._bases = {kind: build_body(task, plan, model, kind) for kind in kinds}
        optional: dict[str, Any] = {"reasoning_effort": task.parameters.reasoning_effort}
        if not (task.tools and facts.server == "llama.cpp"):
            optional["logprobs"] = True
        if facts.server == "vllm":
            optional |= {"return_token_ids": True, "cache_salt": cache_salt(task.tenant, model)}
        if not self._not_trainable:
            optional |= SPELLED_OUT
            if SPELLED_OUT.keys() & facts.refused:
                self._not_trainable = "server_defaults"
        if self._streamed:
            optional["stream_options"] = {"include_usage": True}
            for base in self._bases.values():
                base["stream"] = True
        self._optional = {
            key: value
            for key, value in optional.items()
            if value is not None and key not in self._bases["text"]
        }

    async def _fill_kinds(self, facts: Facts) -> None:
        """The texts, and beside them the programs, which are asked for in other words."""
        n, programs = self._draw.n, self._draw.programs
        if programs == 0:
            await self._fill(range(n), facts, "text")
            return
        async with asyncio.TaskGroup() as both:
            both.create_task(self._fill(range(n - programs, n), facts, "program"))
            if programs < n:
                both.create_task(self._fill(range(n - programs), facts, "text"))

    async def _fill(self, slots: Sequence[int], facts: Facts, kind: SampleKind) -> None:
        """Draw the round's samples, by calls of several choices as long as the server gives them.

        A server that ignores `n` answers the first call with one choice: the rest is drawn by
        parallel calls, and so is every later round.
        """
        while len(slots) > 1 and facts.n is not False:
            reply = await self._call(slots, facts, kind)
            if reply.drawn > 1:
                facts.n = True
            elif reply.missing:
                facts.n = False
            slots = [slot for slot in slots if slot not in reply.slots] or reply.missing
        if len(slots) == 1:
            await self._call(slots, facts, kind)
            return
        async with asyncio.TaskGroup() as parallel:
            for slot in slots:
                parallel.create_task(self._call((slot,), facts, kind))

    async def _call(self, slots: Sequence[int], facts: Facts, kind: SampleKind) -> Reply:
        """One upstream call for these slots. Its samples are handed over, its error kept."""
        reply = Reply(
            self._task,
            self._draw,
            call=self._draw.first_index + len(self._replies),
            slots=slots,
            kind=kind,
            engine=self._upstream.name,
            started_ms=self._now_ms(),
            not_trainable=PROGRAM if kind == "program" else self._not_trainable,
            usage_each=facts.server == "llama.cpp",
            origin=facts.origin,
        )
        self._replies.append(reply)
        request_s = self._upstream.settings.request_s
        try:
            async with asyncio.timeout(request_s):
                response = await self._open(reply, facts)
                try:
                    await self._read(reply, response)
                finally:
                    await response.aclose()
            reply.check_complete()
        except TimeoutError:
            self._fail(reply, EngineTimeout(f"The model server took over {request_s:g} s."))
        except EngineError as error:
            self._fail(reply, error)
        reply.finished_ms = self._now_ms()
        self._hand_over(reply.take_ended(reply.finished_ms, over=True))
        self._hand_over(reply.take_unfinished(reply.finished_ms, cancelled=False))
        facts.logprobs = facts.logprobs or reply.has_logprobs
        facts.token_ids = facts.token_ids or reply.has_token_ids
        return reply

    async def _open(self, reply: Reply, facts: Facts) -> httpx.Response:
        """POST, once more for each optional field that the server turns out not to have."""
        while True:
            optional = {
                key: value for key, value in self._optional.items() if key not in facts.refused
            }
            if "seed" in facts.refused:
                reply.seed = None
            else:
                optional["seed"] = reply.seed
            body = {**self._bases[reply.kind], **optional}
            if len(reply.slots) > 1:
                body["n"] = len(reply.slots)
            if "max_tokens" in body and facts.tokens_key != "max_tokens":
                body[facts.tokens_key] = body.pop("max_tokens")
            settings = self._upstream.settings
            try:
                return await self._upstream.post(
                    PATH,
                    write_json(body),
                    first_byte_s=settings.first_byte_s if self._streamed else settings.request_s,
                    on_attempt=reply.count_attempt,
                )
            except EngineRefused as refused:
                if not facts.learn_refusal(refused, body, optional):
                    raise
                if facts.n is False:
                    reply.slots = reply.slots[:1]
                if SPELLED_OUT.keys() & facts.refused:
                    reply.not_trainable = reply.not_trainable or "server_defaults"

    async def _read(self, reply: Reply, response: httpx.Response) -> None:
        """Read the reply to its end. Raises `EngineError`; what came before stays in `reply`."""
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type == "text/event-stream" or (not content_type and self._streamed):
            await self._read_stream(reply, response)
        elif content_type.endswith("json") or not content_type:
            body = await read_capped(response, MAX_REPLY_BYTES)
            self._take(reply, read_json(body))
        else:
            raise EngineGarbage(
                f"The model server answered with content type '{content_type[:80]}', "
                "which is no completion."
            )

    async def _read_stream(self, reply: Reply, response: httpx.Response) -> None:
        now = asyncio.get_running_loop().time
        settings = self._upstream.settings
        reader = SSEReader()
        size = 0
        try:
            async with asyncio.timeout(settings.first_byte_s) as silence:
                async for chunk in response.aiter_bytes():
                    size += len(chunk)
                    if size > MAX_REPLY_BYTES:
                        raise EngineGarbage(
                            f"The model server's reply is larger than {MAX_REPLY_BYTES} bytes."
                        )
                    self._take_events(reply, reader.feed(chunk))
                    wait_s = TAIL_S if reply.all_ended else settings.idle_s
                    silence.reschedule(now() + wait_s)
                self._take_events(reply, reader.finish())
        except TimeoutError:
            if not reply.all_ended:
                raise EngineTimeout(
                    "The model server fell silent in the middle of its reply."
                ) from None
        except TransportFault as fault:
            if not reply.all_ended:
                raise cut(fault) from None

    def _take_events(self, reply: Reply, events: list[bytes]) -> None:
        for event in events:
            if event == b"[DONE]":
                reply.done = True
            elif event and not reply.done:
                self._take(reply, read_json(event))
        self._hand_over(reply.take_ended(self._now_ms(), over=False))

    def _take(self, reply: Reply, body: Any) -> None:
        for delta in reply.take(body, self._now_ms()):
            if self._on_delta is not None:
                self._on_delta(delta)

    def _fail(self, reply: Reply, error: EngineError) -> None:
        reply.error = error.error_code
        self._errors.append(error)

    def _hand_over(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            self._ended += sample.finish_reason is not None
            self._ready.put_nowait(sample)
