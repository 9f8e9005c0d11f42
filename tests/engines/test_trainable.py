"""Which samples may be trained on: those whose µ the trainer can replay by temperature alone."""

from __future__ import annotations

import math
from typing import Any

import pytest

from app.engines.trainable import why_not, why_not_sample
from app.task import Parameters
from tests.builders import a_plan, a_task


@pytest.mark.parametrize(
    ("expected", "plan", "task"),
    [
        ("", {}, {}),
        ("", {"top_p": 1.0}, {"parameters": Parameters(extra={"top_k": -1, "min_p": 0})}),
        ("server_defaults", {"cap": 1}, {}),
        ("unknown_temperature", {"temperature": None}, {}),
        ("greedy", {"temperature": 0.0}, {}),
        ("top_p", {"top_p": 0.9}, {}),
        ("truncated_distribution", {}, {"parameters": Parameters(extra={"top_k": 40})}),
        ("truncated_distribution", {}, {"parameters": Parameters(extra={"min_p": 0.05})}),
        ("penalty", {}, {"parameters": Parameters(presence_penalty=0.1)}),
        ("penalty", {}, {"parameters": Parameters(frequency_penalty=-0.1)}),
        ("penalty", {}, {"parameters": Parameters(extra={"repetition_penalty": 1.1})}),
        ("logit_bias", {}, {"parameters": Parameters(logit_bias={"5": 1.0})}),
        ("constrained_decoding", {}, {"response_format": {"type": "json_object"}}),
        ("", {}, {"response_format": {"type": "text"}}),
        ("constrained_decoding", {}, {"tool_choice": "required"}),
        ("constrained_decoding", {}, {"tool_choice": {"type": "function"}}),
        ("", {}, {"tool_choice": "auto"}),
        (
            "constrained_decoding",
            {},
            {"parameters": Parameters(extra={"structured_outputs": {"regex": "a"}})},
        ),
    ],
)
def test_whatever_shapes_the_distribution_bars_the_round(
    expected: str, plan: dict[str, Any], task: dict[str, Any]
) -> None:
    assert why_not(a_task(**task), a_plan(**plan), exact_logprobs=True) == expected


def test_logprobs_from_before_temperature_bar_the_round() -> None:
    assert why_not(a_task(), a_plan(), exact_logprobs=False) == "unprocessed_logprobs"


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("", {}),
        ("", {"finish_reason": "length"}),
        ("", {"finish_reason": "tool_calls"}),
        ("unfinished", {"finish_reason": None}),
        ("finish_reason", {"finish_reason": "content_filter"}),
        ("altered", {"altered": ("bad_unicode",)}),
        ("no_token_ids", {"token_ids": None}),
        ("no_logprobs", {"logprobs": None}),
        ("misaligned_logprobs", {"logprobs": (-0.1,)}),
        ("bad_logprobs", {"logprobs": (-0.1, math.nan)}),
        ("bad_logprobs", {"logprobs": (-0.1, -math.inf)}),
        ("bad_logprobs", {"logprobs": (-0.1, -9999.0)}),
    ],
)
def test_a_sample_needs_aligned_finite_logprobs_and_an_end(
    expected: str, changes: dict[str, Any]
) -> None:
    good: dict[str, Any] = {
        "token_ids": (5, 6),
        "logprobs": (-0.1, -0.2),
        "finish_reason": "stop",
        "altered": (),
    }

    assert why_not_sample(**{**good, **changes}, floor=-9999.0) == expected
