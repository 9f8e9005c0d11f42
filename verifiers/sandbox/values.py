"""The value boundary: plain values as bytes, and strictly back.

Only exact built-in types cross. An object of a class of somebody's own crosses as the plain value
that it is built on, so no `__eq__` or `__hash__` of a candidate is ever asked. Decoding checks
every length and depth and runs no code of the sender. No imports: both sides start faster.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` costs 12 ms, more than the start of the interpreter
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 100
MAX_INTEGER_DIGITS = 65_536
"""Hexadecimal digits of one integer."""


class NotPlain(ValueError):
    """This value does not cross."""


class BadBytes(ValueError):
    """These bytes are no value."""


class Handle:
    """An object that stays where it is; only its number crosses."""

    __slots__ = ("kind", "number")

    def __init__(self, number: int, kind: str) -> None:
        self.number = number
        self.kind = kind


def dumps(value: object, sort: bool = False, keep: Callable[[Any], Handle] | None = None) -> bytes:
    """Bytes of a value. `keep` gives handles to what is not plain; without it `NotPlain`.

    `sort` makes equal dictionaries equal bytes, whatever their order.
    """
    try:
        return _Writer(sort, keep).write(value, 0)
    except RecursionError:
        raise NotPlain("nested too deeply") from None


def loads(data: bytes) -> Any:
    """The value of bytes from a stranger. Raises `BadBytes`."""
    reader = _Reader(data)
    try:
        value = reader.read(0)
    except BadBytes:
        raise
    except Exception as broken:
        raise BadBytes(type(broken).__name__) from None
    if reader.at != len(data):
        raise BadBytes("more than one value")
    return value


class _Writer:
    def __init__(self, sort: bool, keep: Callable[[Any], Handle] | None) -> None:
        self.sort = sort
        self.keep = keep
        self.left = MAX_BYTES

    def write(self, value: Any, depth: int) -> bytes:
        if depth > MAX_DEPTH:
            raise NotPlain("nested too deeply")
        data = self._write(value, depth)
        self.left -= 8
        if self.left < 0 or len(data) > MAX_BYTES:
            raise NotPlain("too large")
        return data

    def _write(self, value: Any, depth: int) -> bytes:
        kind = type(value)
        if value is None:
            return b"N"
        if kind is bool:
            return b"T" if value else b"F"
        if issubclass(kind, int):
            digits = int.__format__(int(int.__index__(value)), "x")
            if len(digits) > MAX_INTEGER_DIGITS:
                raise NotPlain("too large")
            return _framed(b"i", digits.encode())
        if issubclass(kind, float):
            return _framed(b"f", float.__repr__(value).encode())
        if issubclass(kind, str):
            return _framed(b"s", str.encode(value, "utf-8", "surrogatepass"))
        if issubclass(kind, bytes | bytearray):
            return _framed(b"b" if issubclass(kind, bytes) else b"B", bytes(memoryview(value)))
        if kind is complex:
            return b"c" + self._many((value.real, value.imag), depth)
        return self._container(kind, value, depth)

    def _container(self, kind: type, value: Any, depth: int) -> bytes:
        if issubclass(kind, list):
            return b"l" + self._many(list.__iter__(value), depth)
        if issubclass(kind, tuple):
            return b"t" + self._many(tuple.__iter__(value), depth)
        if issubclass(kind, set):
            return b"e" + self._many(set.__iter__(value), depth, sort=True)
        if issubclass(kind, frozenset):
            return b"z" + self._many(frozenset.__iter__(value), depth, sort=True)
        if kind is range:
            return b"r" + self._many((value.start, value.stop, value.step), depth)
        if issubclass(kind, dict):
            items: Iterable[tuple[Any, Any]] = dict.items(value)
            written = [
                self.write(key, depth + 1) + self.write(item, depth + 1) for key, item in items
            ]
            return b"d" + _joined(sorted(written) if self.sort else written)
        if kind is Handle:
            return b"h" + self._many((value.number, value.kind), depth)
        name = _known_name(kind)
        if name is not None:
            return b"k" + self._many((name, *_KNOWN[name][0](value)), depth)
        if self.keep is None:
            raise NotPlain(f"{kind.__name__:.60} is no plain value")
        handle = self.keep(value)
        return b"h" + self._many((handle.number, handle.kind), depth)

    def _many(self, values: Iterable[Any], depth: int, sort: bool = False) -> bytes:
        written = [self.write(value, depth + 1) for value in values]
        return _joined(sorted(written) if sort else written)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def read(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise BadBytes("nested too deeply")
        tag = self.data[self.at : self.at + 1]
        self.at += 1
        if tag in (b"N", b"T", b"F"):
            return {b"N": None, b"T": True, b"F": False}[tag]
        size = self._size()
        if tag in (b"i", b"f", b"s", b"b", b"B"):
            return _scalar(tag, self._take(size))
        if size > len(self.data) - self.at:
            raise BadBytes("a count over the bytes")
        if tag == b"d":
            return {self.read(depth + 1): self.read(depth + 1) for _ in range(size)}
        return _collection(tag, [self.read(depth + 1) for _ in range(size)])

    def _size(self) -> int:
        end = self.data.find(b":", self.at, self.at + 12)
        digits = self.data[self.at : end]
        if end < 0 or not digits.isdigit():
            raise BadBytes("no length")
        self.at = end + 1
        return int(digits)

    def _take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        if len(taken) != size:
            raise BadBytes("cut short")
        self.at += size
        return taken


def _framed(tag: bytes, data: bytes) -> bytes:
    return b"%b%d:%b" % (tag, len(data), data)


def _joined(parts: list[bytes]) -> bytes:
    return b"%d:%b" % (len(parts), b"".join(parts))


def _scalar(tag: bytes, data: bytes) -> Any:
    if tag in (b"i", b"f") and b"_" in data:
        raise BadBytes("no number")
    if tag == b"i":
        if len(data) > MAX_INTEGER_DIGITS + 1:
            raise BadBytes("too large")
        return int(data, 16)
    if tag == b"f":
        return float(data.decode("ascii"))
    if tag == b"s":
        return data.decode("utf-8", "surrogatepass")
    return data if tag == b"b" else bytearray(data)


def _collection(tag: bytes, items: list[Any]) -> Any:
    if tag == b"l":
        return items
    if tag == b"t":
        return tuple(items)
    if tag == b"e":
        return set(items)
    if tag == b"z":
        return frozenset(items)
    if tag == b"c":
        return complex(*_typed(items, float, float))
    if tag == b"r":
        return range(*_typed(items, int, int, int))
    if tag == b"h":
        return Handle(*_typed(items, int, str))
    if tag == b"k" and items and type(items[0]) is str and items[0] in _KNOWN:
        return _KNOWN[items[0]][1](*items[1:])
    raise BadBytes("no such kind")


def _typed(items: list[Any], *types: type) -> list[Any]:
    if [type(item) for item in items] != list(types):
        raise BadBytes("wrong parts")
    return items


def _known_name(kind: type) -> str | None:
    """Name of a class of the library, by identity: a class that only carries the name is not it."""
    for name in _KNOWN:
        module, _, attribute = name.rpartition(".")
        if module in sys.modules and getattr(sys.modules[module], attribute, None) is kind:
            return name
    return None


def _of(module: str, name: str) -> Any:
    return getattr(__import__(module), name)


def _decimal(text: str) -> Any:
    return _of("decimal", "Decimal")(*_typed([text], str))


def _fraction(top: int, bottom: int) -> Any:
    return _of("fractions", "Fraction")(*_typed([top, bottom], int, int))


def _date(*parts: int) -> Any:
    return _of("datetime", "date")(*_typed(list(parts), int, int, int))


def _parts_of_datetime(value: Any) -> tuple[int, ...]:
    if value.tzinfo is not None:
        raise NotPlain("a time with a time zone")
    parts = (value.year, value.month, value.day, value.hour, value.minute, value.second)
    return (*parts, value.microsecond)


def _datetime(*parts: int) -> Any:
    return _of("datetime", "datetime")(*_typed(list(parts), *[int] * 7))


def _timedelta(*parts: int) -> Any:
    return _of("datetime", "timedelta")(*_typed(list(parts), int, int, int))


def _deque(items: list[Any]) -> Any:
    return _of("collections", "deque")(*_typed([items], list))


_KNOWN: dict[str, tuple[Callable[[Any], tuple[Any, ...]], Callable[..., Any]]] = {
    "decimal.Decimal": (lambda v: (str(v),), _decimal),
    "fractions.Fraction": (lambda v: (v.numerator, v.denominator), _fraction),
    "datetime.date": (lambda v: (v.year, v.month, v.day), _date),
    "datetime.datetime": (_parts_of_datetime, _datetime),
    "datetime.timedelta": (lambda v: (v.days, v.seconds, v.microseconds), _timedelta),
    "collections.deque": (lambda v: (list(v),), _deque),
}
"""Classes of the library that count as plain: how they come apart and together."""
