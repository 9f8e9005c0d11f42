"""JSON pointers with `*`.

A pointer is that of RFC 6901; a step that is only `*` stands for every element of an array or every
value of an object. It finds places in a parsed value and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from verifiers.base import BadCheck

MAX_POINTER_CHARS = 400
MAX_POINTER_STEPS = 32

Pointer = tuple[str, ...]
"""Steps of a pointer, unescaped; the empty one is the whole value."""


def read_pointer(text: object, param: str) -> Pointer:
    """The steps of a pointer. Raises `BadCheck` at `param`."""
    if not isinstance(text, str) or len(text) > MAX_POINTER_CHARS:
        raise BadCheck("a JSON pointer is a text like `/items/*/amount`", param=param)
    if text and not text.startswith("/"):
        raise BadCheck(f"a JSON pointer begins with '/', got {text[:60]!r}", param=param)
    steps = tuple(_unescape(step) for step in text.split("/")[1:])
    if len(steps) > MAX_POINTER_STEPS:
        raise BadCheck(f"a JSON pointer has at most {MAX_POINTER_STEPS} steps", param=param)
    return steps


def write_pointer(steps: Pointer) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def find(value: Any, pointer: Pointer) -> Iterator[tuple[Pointer, Any]]:
    """Every place that the pointer means, with what stands there; a missing one is left out."""
    places: list[tuple[Pointer, Any]] = [((), value)]
    for step in pointer:
        places = [
            ((*path, key), below)
            for path, here in places
            for key, below in _children(here)
            if step in ("*", key)
        ]
    yield from places


def covers(pointer: Pointer, path: Pointer) -> bool:
    """True when the pointer means exactly this place."""
    return len(pointer) == len(path) and all(
        step in ("*", key) for step, key in zip(pointer, path, strict=True)
    )


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield str(index), below


def _unescape(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
