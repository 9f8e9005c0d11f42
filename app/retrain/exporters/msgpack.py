"""MessagePack of plain values, as far as the exporters need it. Writes, does not read."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any


def pack(value: Any) -> bytes:
    """None, bool, int, float (as 64 bits), str, bytes and lists of them.

    Raises TypeError for anything else and OverflowError for integers beyond 64 bits.
    """
    parts: list[bytes] = []
    _pack(value, parts)
    return b"".join(parts)


def _pack(value: Any, parts: list[bytes]) -> None:
    if value is None:
        parts.append(b"\xc0")
    elif isinstance(value, bool):
        parts.append(b"\xc3" if value else b"\xc2")
    elif isinstance(value, int):
        parts.append(_integer(value))
    elif isinstance(value, float):
        parts.append(struct.pack(">Bd", 0xCB, value))
    elif isinstance(value, str):
        text = value.encode()
        parts.append(_head(len(text), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + text)
    elif isinstance(value, bytes):
        parts.append(_head(len(value), None, 0, (0xC4, 0xC5, 0xC6)) + value)
    elif isinstance(value, Sequence):
        parts.append(_head(len(value), 0x90, 16, (None, 0xDC, 0xDD)))
        for item in value:
            _pack(item, parts)
    else:
        raise TypeError(f"{type(value).__name__} has no form here")


def _integer(value: int) -> bytes:
    """The shortest form, as every reader and writer of the format agrees."""
    if -32 <= value < 128:
        return struct.pack(">b", value) if value < 0 else struct.pack(">B", value)
    unsigned = ((0xCC, ">BB", 8), (0xCD, ">BH", 16), (0xCE, ">BI", 32), (0xCF, ">BQ", 64))
    signed = ((0xD0, ">Bb", 7), (0xD1, ">Bh", 15), (0xD2, ">Bi", 31), (0xD3, ">Bq", 63))
    for code, form, bits in unsigned if value >= 0 else signed:
        if value < 2**bits and value >= -(2**bits):
            return struct.pack(form, code, value)
    raise OverflowError(f"{value} has more than 64 bits")


def _head(length: int, short: int | None, limit: int, codes: tuple[int | None, int, int]) -> bytes:
    """Type and length: in one byte below `limit`, else with 1, 2 or 4 bytes of length."""
    if short is not None and length < limit:
        return struct.pack(">B", short | length)
    for code, form, bits in zip(codes, (">BB", ">BH", ">BI"), (8, 16, 32), strict=True):
        if code is not None and length < 2**bits:
            return struct.pack(form, code, length)
    raise OverflowError(f"{length} items are too many")
