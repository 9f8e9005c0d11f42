"""The part of pytest that tests of one function use, for a process without installed packages.

`raises`, `approx`, `mark.parametrize`, `fixture`, `fail` and `skip` (which does not pass). No
plug-ins, no built-in fixtures, no conftest.
"""

from __future__ import annotations

import types

TYPE_CHECKING = False  # `typing` costs 12 ms, more than the start of the interpreter
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping
    from typing import Any


class Failed(Exception):
    """A test said that it failed, or skipped itself: neither is a pass."""


class _Caught:
    value: BaseException
    type: type[BaseException]


class _Raises:
    def __init__(self, kinds: Any, match: str | None) -> None:
        self.kinds = kinds
        self.match = match
        self.caught = _Caught()

    def __enter__(self) -> _Caught:
        return self.caught

    def __exit__(self, kind: Any, value: Any, trace: Any) -> bool:
        if kind is None:
            raise Failed("did not raise")
        if not isinstance(value, Exception) or not issubclass(kind, self.kinds):
            return False
        self.caught.value, self.caught.type = value, kind
        if self.match is not None:
            import re

            if re.search(self.match, str(value)) is None:
                raise Failed("raised with another message")
        return True


def raises(kinds: Any, *call: Any, match: str | None = None, **named: Any) -> Any:
    context = _Raises(kinds, match)
    if not call:
        return context
    with context as caught:
        call[0](*call[1:], **named)
    return caught


class approx:
    """Equal up to a relative 1e-6 or an absolute 1e-12, as in pytest; NaN equals nothing."""

    def __init__(
        self, expected: Any, rel: float | None = None, abs: float | None = None, **_: Any
    ) -> None:
        self.expected = expected
        self.rel = rel
        self.abs = abs

    def __eq__(self, actual: Any) -> bool:
        return self._near(self.expected, actual)

    def __repr__(self) -> str:
        return f"approx({self.expected!r})"

    __hash__ = None  # type: ignore[assignment]

    def _near(self, expected: Any, actual: Any) -> bool:
        if isinstance(expected, list | tuple):
            same = type(actual) in (list, tuple) and len(actual) == len(expected)
            return same and all(map(self._near, expected, actual))
        if isinstance(expected, dict):
            same = type(actual) is dict and actual.keys() == expected.keys()
            return same and all(self._near(expected[key], actual[key]) for key in expected)
        if not isinstance(expected, int | float | complex) or not isinstance(
            actual, int | float | complex
        ):
            return bool(expected == actual)
        if expected == actual:
            return True
        relative = 0.0 if self.rel is None and self.abs is not None else self.rel or 1e-6
        allowed = max(relative * abs(expected), 1e-12 if self.abs is None else self.abs)
        return bool(abs(expected - actual) <= allowed) and allowed != float("inf")


def parametrize(names: Any, rows: Any, **_: Any) -> Callable[[Any], Any]:
    listed = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
    cases = [
        dict(zip(listed, row if len(listed) > 1 else (row,), strict=True)) for row in list(rows)
    ]

    def mark(function: Any) -> Any:
        function._cases = [
            {**outer, **case} for outer in cases for case in getattr(function, "_cases", [{}])
        ]
        return function

    return mark


def fixture(function: Any = None, **_: Any) -> Any:
    def mark(function: Any) -> Any:
        function._is_fixture = True
        return function

    return mark if function is None else mark(function)


def fail(reason: str = "", **_: Any) -> None:
    raise Failed(reason or "failed")


def skip(reason: str = "", **_: Any) -> None:
    raise Failed(f"skipped {reason}")


def install(modules: MutableMapping[str, Any]) -> None:
    """Make `import pytest` find this."""
    module = types.ModuleType("pytest")
    mark = types.SimpleNamespace(parametrize=parametrize)
    for name, part in {
        "raises": raises,
        "approx": approx,
        "fixture": fixture,
        "fail": fail,
        "skip": skip,
        "mark": mark,
    }.items():
        setattr(module, name, part)
    modules["pytest"] = module


def call(function: Any, names: Mapping[str, Any]) -> None:
    """Run a test function for every row of its parameters, with its fixtures."""
    rows = getattr(function, "_cases", [{}])
    if not rows:
        raise Failed("no parameters: nothing was tested")
    for row in rows:
        open_fixtures: list[Iterator[Any]] = []
        missing = [name for name in _arguments(function) if name not in row]
        found = {name: _fixture_value(name, names, open_fixtures) for name in missing}
        function(**row, **found)
        for generator in reversed(open_fixtures):
            next(generator, None)


def call_method(owner: type, name: str, names: Mapping[str, Any]) -> None:
    """Run one test method of a plain class, with its `setup_method`."""
    instance = owner()
    prepare = getattr(instance, "setup_method", None)
    if prepare is not None:
        prepare()
    call(getattr(instance, name), names)


def _arguments(function: Any) -> tuple[str, ...]:
    plain = getattr(function, "__func__", function)
    code = plain.__code__
    bound = 1 if plain is not function else 0
    needed = code.co_argcount - len(plain.__defaults__ or ())
    names: tuple[str, ...] = code.co_varnames[bound:needed]
    return names


def _fixture_value(name: str, names: Mapping[str, Any], opened: list[Iterator[Any]]) -> Any:
    maker: Any = names.get(name)
    if not getattr(maker, "_is_fixture", False):
        raise Failed(f"no fixture '{name}'")
    made = maker(**{each: _fixture_value(each, names, opened) for each in _arguments(maker)})
    if isinstance(made, types.GeneratorType):
        opened.append(made)
        return next(made)
    return made
