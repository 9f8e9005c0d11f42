"""A model that can multiply, and one that cannot: what it says depends on the question alone."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.fakes.upstream import Pause, Request, Steps, scripted

_PRODUCT = re.compile(r"(\d+)\s*\*\s*(\d+)")


def product_of(prompt: str) -> int:
    """What is right for `What is 6 * 7?`."""
    found = _PRODUCT.search(prompt)
    assert found is not None, prompt
    return int(found[1]) * int(found[2])


def multiplying(*, off_by: int = 0, takes_s: float = 0.0) -> Callable[[Request], Steps]:
    """Says the product of the last message, and `off_by` more."""

    def answer(request: Request) -> Steps:
        value = product_of(request.body["messages"][-1]["content"]) + off_by
        steps = scripted(f"It is {value}.")(request)
        before = (Pause(takes_s),) if takes_s else ()
        return Steps(steps.steps, content_type=steps.content_type, before=before)

    return answer
