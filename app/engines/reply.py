"""One upstream call while its reply arrives: choices grow, end, and become samples.

No I/O: `drawing` reads the bytes and says what time it is. Times are those of the group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.engines.trainable import CONSTRAINED, why_not_sample
from app.engines.upstream import refusal_of
from app.engines.wire import LOGPROB_FLOOR, ChoiceBuilder
from app.errors import EngineGarbage
from app.plan import Draw
from app.sample import Call, Delta, Origin, Sample, SampleKind
from app.task import Task

SEEDS = 2**63


class Reply:
    """The choices of one call. Choice `i` fills slot `slots[i]` of the round."""

    def __init__(
        self,
        task: Task,
        draw: Draw,
        *,
        call: int,
        slots: Sequence[int],
        engine: str,
        started_ms: float,
        not_trainable: str,
        kind: SampleKind = "text",
        usage_each: bool = False,
        origin: Origin | None = None,
    ) -> None:
        """`usage_each`: the server sends each choice's own usage right after its end. `origin`:
        what is known of the server."""
        self._keep_logprobs = task.parameters.logprobs
        self._stops = bool(task.parameters.stop)
        self._draw = draw
        self._index = call
        self.slots = slots
        self.kind: SampleKind = kind
        self.seed: int | None = (draw.seed + slots[0]) % SEEDS
        """Servers give choice i the seed + i, so a parallel call starts at its slot."""
        self._engine = engine
        self._origin = origin
        self._started_ms = started_ms
        self.not_trainable = not_trainable
        self._builders: dict[int, ChoiceBuilder] = {}
        self._first_ms: dict[int, float] = {}
        self._ended_ms: dict[int, float] = {}
        self._taken: set[int] = set()
        self._attempts = 0
        self._upstream_id = ""
        self._model = ""
        self._usage: Mapping[str, Any] | None = None
        self._usage_each = usage_each
        self._usage_of: dict[int, Mapping[str, Any]] = {}
        self._prompt_ids: tuple[int, ...] | None = None
        self.done = False
        """True once the server has said that nothing more comes."""
        self.error = ""
        self.finished_ms: float | None = None

    @property
    def all_ended(self) -> bool:
        return self.done or (
            len(self._builders) == len(self.slots)
            and all(builder.ended for builder in self._builders.values())
        )

    @property
    def drawn(self) -> int:
        """Choices that came, ended or not."""
        return len(self._builders)

    @property
    def missing(self) -> Sequence[int]:
        """Slots that the server left out of a reply that it says is whole."""
        return (
            [] if self.error else [s for i, s in enumerate(self.slots) if i not in self._builders]
        )

    @property
    def has_token_ids(self) -> bool:
        return any(builder.token_ids or builder.entry_ids for builder in self._builders.values())

    @property
    def has_logprobs(self) -> bool:
        return any(builder.logprobs for builder in self._builders.values())

    def count_attempt(self) -> None:
        self._attempts += 1

    def take(self, body: Any, at_ms: float) -> list[Delta]:
        """Take a whole reply or one piece of a stream; returns the live pieces of choice 0.

        Raises the `EngineError` that the body carries or amounts to.
        """
        if not isinstance(body, Mapping):
            raise EngineGarbage("The model server sent JSON that is not a completion.")
        if body.get("error"):
            raise self._error_in(body)
        self._upstream_id = self._upstream_id or str(body.get("id") or "")
        self._model = self._model or str(body.get("model") or "")
        ids = body.get("prompt_token_ids")
        if isinstance(ids, list) and all(isinstance(token, int) for token in ids):
            self._prompt_ids = tuple(ids)
        choices = body.get("choices") or ()
        if not isinstance(choices, list | tuple):
            raise EngineGarbage("The model server sent choices that are not a list.")
        deltas: list[Delta] = []
        for position, choice in enumerate(choices):
            if not isinstance(choice, Mapping):
                raise EngineGarbage("The model server sent a choice that is not an object.")
            index = choice.get("index", position)
            if not isinstance(index, int) or not 0 <= index < len(self.slots):
                continue
            delta = self._grow(index, choice, at_ms)
            if delta is not None and index == 0:
                deltas.append(delta)
        if isinstance(body.get("usage"), Mapping):
            self._take_usage(body["usage"])
        return deltas

    def check_complete(self) -> None:
        """Raises `EngineGarbage` when a reply without a fault is no completion after all."""
        if not self._builders:
            raise EngineGarbage("The model server's reply holds no choice.")
        if not all(b.finish_reason for b in self._builders.values()):
            raise EngineGarbage("The model server's reply ended before its choices did.")

    def take_ended(self, now_ms: float, *, over: bool) -> Iterator[Sample]:
        """The ended samples that were not taken yet.

        Until the reply is `over`, the one sample of a call waits for the usage, which alone may
        tell its number of tokens. Of several none waits: a verdict on it may end the round.
        """
        several = len(self.slots) > 1
        for index, builder in self._builders.items():
            if self._usage_each:
                counted: object = index in self._usage_of
            else:
                counted = self._usage or several or builder.token_ids
            ready = over or self.done or counted
            if builder.finish_reason and ready and index not in self._taken:
                self._taken.add(index)
                yield self._sample(index, now_ms, cancelled=False)

    def take_unfinished(self, now_ms: float, *, cancelled: bool) -> Iterator[Sample]:
        """The samples that got tokens and no end, and were not taken yet."""
        for index, builder in self._builders.items():
            if builder.started and index not in self._taken:
                self._taken.add(index)
                builder.flush()
                yield self._sample(index, now_ms, cancelled=cancelled)

    def to_call(self, now_ms: float) -> Call:
        prompt_tokens = _count(self._usage, "prompt_tokens")
        return Call(
            index=self._index,
            round=self._draw.round,
            engine=self._engine,
            n=len(self.slots),
            seed=self.seed,
            started_ms=self._started_ms,
            finished_ms=now_ms if self.finished_ms is None else self.finished_ms,
            attempts=max(1, self._attempts),
            prompt_tokens=prompt_tokens or len(self._prompt_ids or ()),
            prompt_token_ids=self._prompt_ids,
            upstream_id=self._upstream_id,
            origin=self._origin,
            error=self.error,
        )

    def _grow(self, index: int, choice: Mapping[str, Any], at_ms: float) -> Delta | None:
        builder = self._builders.get(index)
        if builder is None:
            builder = ChoiceBuilder(keep_logprobs=self._keep_logprobs)
            self._builders[index] = builder
        if builder.ended:
            return None
        delta = builder.add(choice)
        if delta is not None:
            self._first_ms.setdefault(index, at_ms)
        if builder.ended:
            self._ended_ms[index] = at_ms
        return delta

    def _take_usage(self, usage: Mapping[str, Any]) -> None:
        self._usage = usage
        if self._usage_each and self._ended_ms:
            self._usage_of.setdefault(list(self._ended_ms)[-1], usage)

    def _error_in(self, body: Mapping[str, Any]) -> Exception:
        """A 200 reply whose body is an error; before any choice, its code counts as the status."""
        inner = body["error"]
        code = inner.get("code") if isinstance(inner, Mapping) else None
        if isinstance(code, int) and 400 <= code < 600 and not self._builders:
            return refusal_of(code, body, {}, self._engine)
        said = inner.get("message") if isinstance(inner, Mapping) else inner
        return EngineGarbage(f"The model server answered 200 with an error: {str(said)[:1000]}")

    def _sample(self, index: int, now_ms: float, *, cancelled: bool) -> Sample:
        builder = self._builders[index]
        finish_reason = None if cancelled else builder.finish_reason
        altered = ("bad_unicode",) if builder.bad_unicode else ()
        token_ids = builder.token_ids or self._whole_entry_ids(index)
        logprobs = builder.logprobs
        reason = self.not_trainable or why_not_sample(
            token_ids, logprobs, finish_reason, altered, floor=LOGPROB_FLOOR
        )
        if logprobs is not None and not all(map(math.isfinite, logprobs)):
            logprobs = None
        completion_tokens = len(builder.token_ids or ()) or self._counted(index)
        return Sample(
            index=self._draw.first_index + self.slots[index],
            kind=self.kind,
            round=self._draw.round,
            call=self._index,
            choice=index,
            text=builder.text,
            reasoning=builder.reasoning,
            refusal=builder.refusal,
            tool_calls=builder.tool_calls,
            finish_reason=finish_reason,
            prompt_tokens=_count(self._usage, "prompt_tokens") or len(self._prompt_ids or ()),
            completion_tokens=completion_tokens or builder.counted_tokens,
            token_ids=token_ids,
            logprobs=logprobs,
            logprobs_wire=builder.logprobs_wire,
            seed=self.seed,
            model=self._model,
            started_ms=self._started_ms,
            first_token_ms=self._first_ms.get(index),
            finished_ms=self._ended_ms.get(index, now_ms),
            cancelled=cancelled,
            trainable=not reason,
            not_trainable="cancelled" if cancelled else reason,
            altered=altered,
        )

    def _counted(self, index: int) -> int:
        alone = len(self._builders) == 1
        usage = self._usage_of.get(index) or (self._usage if alone else None)
        return _count(usage, "completion_tokens")

    def _whole_entry_ids(self, index: int) -> tuple[int, ...] | None:
        """llama.cpp's ids when none is missing, as its count of tokens shows.

        It merges the tokens of one character, and of a stop sequence that did not come, into one
        entry; the end token has none; under a grammar the ids are not those of the text.
        """
        if self.not_trainable == CONSTRAINED:
            return None
        builder = self._builders[index]
        missing = self._counted(index) - len(builder.entry_ids)
        end_token = int(builder.finish_reason == "stop" and not self._stops)
        return builder.entry_ids if builder.entry_ids and missing in (0, end_token) else None


def _count(usage: Mapping[str, Any] | None, key: str) -> int:
    value = usage.get(key) if usage is not None else None
    return value if isinstance(value, int) and value > 0 else 0
