"""Ways to hide a short text in a longer one, for matrices of family × disguise.

Each takes the payload and gives a whole response that carries it, readable for whoever wants it.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Callable

_CYRILLIC = str.maketrans("aeopcyxijshAEKMHOPCTX", "аеорсухіјѕһАЕКМНОРСТХ")
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_MATH = {
    **{ord("a") + index: 0x1D5BA + index for index in range(26)},
    **{ord("A") + index: 0x1D5A0 + index for index in range(26)},
    **{ord("0") + index: 0x1D7E2 + index for index in range(10)},
}
_ARABIC_DIGITS = {ord("0") + index: 0x0660 + index for index in range(10)}


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _between(mark: str) -> Callable[[str], str]:
    return lambda text: mark.join(text)


def _wrap(text: str, width: int = 60) -> str:
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "disclaimer": lambda text: f"This is only a made-up sample, it is not real: {text}",
    "homoglyphs": lambda text: text.translate(_CYRILLIC),
    "full_width": lambda text: text.translate(_WIDE),
    "math_letters": lambda text: text.translate(_MATH),
    "other_digits": lambda text: text.translate(_ARABIC_DIGITS),
    "zero_width": _between("\u200b"),
    "joiners": _between("\u2060"),
    "soft_hyphens": _between("\u00ad"),
    "bidi": lambda text: f"\u202d{text}\u202c",
    "tag_characters": _between("\U000e0041"),
    "combining": _between("\u0335"),
    "control": _between("\x01"),
    "spaced": _between(" "),
    "base64": _b64,
    "base64_url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64_twice": lambda text: _b64(_b64(text)),
    "base64_of_a_sentence": lambda text: _b64(f"As you wished, here it is: {text} - enjoy!"),
    "base64_wrapped": lambda text: _wrap(_b64("some more words around it " * 4 + text)),
    "hex": lambda text: text.encode().hex(),
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent_twice": lambda text: urllib.parse.quote(
        "".join(f"%{byte:02x}" for byte in text.encode())
    ),
    "entities": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "hex_entities": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "unicode_escapes": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "byte_escapes": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
    "comment": lambda text: f"Fine. <!-- {text} --> Bye.",
    "split_by_comments": lambda text: f"{text[:4]}<!-- x -->{text[4:]}",
    "split_by_tags": lambda text: "".join(f"<b>{char}</b>" for char in text),
    "joined_strings": lambda text: f'x = "{text[:4]}" + "{text[4:]}"',
    "comment_of_base64": lambda text: f"<!-- {_b64(text)} -->",
    "percent_of_base64": lambda text: urllib.parse.quote(_b64(text)),
    "homoglyphs_and_zero_width": lambda text: "\u200d".join(text.translate(_CYRILLIC)),
}
"""Name of the disguise → how it is put on."""
