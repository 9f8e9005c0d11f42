"""A reply while it arrives: whose tokens are whose, and which ids are whole."""

from __future__ import annotations

from typing import Any

import pytest

from app.engines.reply import Reply
from app.errors import EngineError
from app.plan import Draw
from app.sample import Sample
from app.task import Parameters
from tests.builders import a_task
from tests.fakes.upstream import chunk, piece, usage


def a_reply(n: int = 1, *, usage_each: bool = False, **parameters: Any) -> Reply:
    return Reply(
        a_task(parameters=Parameters(**parameters)),
        Draw(round=1, n=n, first_index=0, seed=1),
        call=0,
        slots=range(n),
        engine="main",
        started_ms=0.0,
        not_trainable="",
        usage_each=usage_each,
    )


def entries(*ids: int) -> dict[str, Any]:
    return {"logprobs": {"content": [{"token": "x", "id": i, "logprob": -0.5} for i in ids]}}


def llama_cpp(finish: str, ids: tuple[int, ...], tokens: int, **parameters: Any) -> Sample:
    """One choice as llama.cpp streams it: pieces, the end, then the usage of this choice."""
    reply = a_reply(2, usage_each=True, **parameters)
    reply.take(chunk(piece("x" * len(ids), index=1, **entries(*ids))), 1.0)
    reply.take(chunk(piece(index=1, finish=finish)), 2.0)
    assert list(reply.take_ended(2.0, over=False)) == []
    reply.take(chunk(usage=usage(7, tokens)), 2.0)
    (sample,) = reply.take_ended(2.0, over=False)
    return sample


@pytest.mark.parametrize(
    ("expected", "finish", "ids", "tokens", "parameters"),
    [
        ((5, 6), "length", (5, 6), 2, {}),
        ((5, 6), "stop", (5, 6), 3, {}),
        (None, "length", (5, 6), 3, {}),
        (None, "stop", (5, 6), 4, {}),
        (None, "stop", (5, 6), 3, {"stop": ("\n",)}),
        ((5, 6), "stop", (5, 6), 2, {"stop": ("\n",)}),
    ],
)
def test_ids_of_llama_cpp_count_only_when_none_is_missing(
    expected: tuple[int, ...] | None,
    finish: str,
    ids: tuple[int, ...],
    tokens: int,
    parameters: dict[str, Any],
) -> None:
    """It merges the tokens of one character into one entry, and gives the end token none."""
    sample = llama_cpp(finish, ids, tokens, **parameters)

    assert sample.token_ids == expected
    assert sample.completion_tokens == tokens
    assert sample.trainable is (expected is not None)


def test_each_usage_of_llama_cpp_is_of_the_choice_that_just_ended() -> None:
    reply = a_reply(2, usage_each=True)
    for index, tokens in ((1, 3), (0, 9)):
        reply.take(chunk(piece("x", index=index, finish="stop")), 1.0)
        reply.take(chunk(usage=usage(7, tokens)), 1.0)
    samples = {sample.index: sample for sample in reply.take_ended(1.0, over=False)}

    assert {i: s.completion_tokens for i, s in samples.items()} == {0: 9, 1: 3}
    assert reply.to_call(1.0).prompt_tokens == 7


def test_the_usage_of_several_choices_belongs_to_none_of_them() -> None:
    reply = a_reply(2)
    for index in (0, 1):
        reply.take(chunk(piece("x", index=index, finish="stop")), 1.0)
    reply.take(chunk(usage=usage(7, 100)), 1.0)

    assert [s.completion_tokens for s in reply.take_ended(1.0, over=True)] == [1, 1]


def test_a_running_usage_of_several_choices_is_not_the_first_ones() -> None:
    reply = a_reply(2)
    reply.take(chunk(piece("x"), usage=usage(7, 1)), 1.0)
    reply.take(chunk(piece("y", index=1, finish="stop"), usage=usage(7, 2)), 1.0)
    reply.take(chunk(piece("x y"), usage=usage(7, 5)), 1.0)
    reply.take(chunk(piece("z", finish="stop"), usage=usage(7, 6)), 1.0)

    assert [s.completion_tokens for s in reply.take_ended(1.0, over=True)] == [3, 1]


@pytest.mark.parametrize(("begun", "expected"), [(False, 400), (True, 502)])
def test_an_error_in_a_stream_is_the_clients_only_before_the_first_piece(
    begun: bool, expected: int
) -> None:
    reply = a_reply()
    if begun:
        reply.take(chunk(piece("x")), 1.0)
    with pytest.raises(EngineError) as caught:
        reply.take({"error": {"message": "too long", "code": 400}}, 1.0)

    assert caught.value.http_status == expected


def test_one_sample_waits_for_the_usage_and_one_of_several_does_not() -> None:
    one, several = a_reply(1), a_reply(2)
    for reply in (one, several):
        reply.take(chunk(piece("x", finish="stop")), 1.0)

    assert len(list(several.take_ended(1.0, over=False))) == 1
    assert list(one.take_ended(1.0, over=False)) == []
    one.take(chunk(usage=usage(7, 4)), 1.0)
    (sample,) = one.take_ended(1.0, over=False)
    assert (sample.completion_tokens, sample.prompt_tokens) == (4, 7)


def test_a_piece_after_the_end_is_not_added() -> None:
    reply = a_reply()
    reply.take(chunk(piece("x", finish="stop")), 1.0)

    assert reply.take(chunk(piece("y")), 2.0) == []
    (sample,) = reply.take_ended(3.0, over=True)
    assert (sample.text, sample.finished_ms) == ("x", 1.0)
