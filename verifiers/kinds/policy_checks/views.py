"""A text and what it says once disguises are taken off: the views in which a policy looks.

Each step undoes one kind of disguise: entities, percent and backslash escapes, comments and tags,
look-alike letters, joined strings, base64 and hex, wrapped lines, spelled-out spacing. All steps
run in order, over and over, until nothing changes. Every state on the way is a view, so a step that
destroys one trace cannot hide it. A text that still unfolds after the last round is not passed.
"""

from __future__ import annotations

import base64
import binascii
import html
import unicodedata
import urllib.parse
from collections.abc import Callable
from typing import Any

import re2

from verifiers.kinds.constraint_checks.lists import listed

MAX_ROUNDS = 5
MAX_VIEW_CHARS = 400_000
"""Longest view; no step may blow a text up beyond it."""
MIN_PRINTABLE = 0.95


class Tangled(Exception):
    """The text hides more layers, or grows larger, than is looked into."""


def views_of(text: str) -> dict[str, str]:
    """Every state of the text → the step that led to it; the text itself is `plain`.

    Raises `Tangled` when it is still unfolding after the last round.
    """
    state = text.encode("utf-8", "replace").decode("utf-8")
    views = {state: "plain"}
    for _ in range(MAX_ROUNDS):
        before = state
        for name, step in _STEPS:
            state = step(state)
            if len(state) > MAX_VIEW_CHARS:
                raise Tangled
            views.setdefault(state, name)
        if state == before:
            return views
    raise Tangled


def look_alikes(text: str) -> str:
    """Compatibility forms, invisible characters, accents, look-alike letters and digits undone."""
    if text.isascii() and not _CONTROL.search(text):
        return text
    flat = unicodedata.normalize("NFKD", text).translate(_LOOK_ALIKES)
    return unicodedata.normalize("NFC", "".join(map(_visible, flat)))


def _visible(char: str) -> str:
    if char.isascii():
        return char if char.isprintable() or char in "\n\t " else ""
    category = unicodedata.category(char)
    if category in _INVISIBLE or char in _BLANK_LETTERS:
        return ""
    if category == "Nd":
        return str(unicodedata.digit(char))
    if category == "Zs":
        return " "
    return "-" if category == "Pd" else char


def _entities(text: str) -> str:
    return html.unescape(text) if "&" in text else text


def _percent(text: str) -> str:
    return urllib.parse.unquote(text) if _PERCENT.search(text) else text


def _escapes(text: str) -> str:
    return str(_ESCAPE.sub(_unescaped, text)) if "\\" in text else text


def _unescaped(found: Any) -> str:
    digits = next(group for group in found.groups() if group)
    code = int(digits, 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else ""


def _comments(text: str) -> str:
    return str(_COMMENT.sub("", text)) if "<!--" in text or "/*" in text else text


def _tags(text: str) -> str:
    return str(_TAG.sub("", text)) if "<" in text else text


def _joins(text: str) -> str:
    return str(_JOIN.sub("", text)) if "+" in text or "&" in text else text


def _encodings(text: str) -> str:
    return str(_ENCODED.sub(_decoded, text))


def _decoded(found: Any) -> str:
    """The readable text that a run of base64 or hex stands for, else the run itself."""
    run: str = found[0]
    for decode in (_from_hex, _from_base64):
        said = decode(run)
        if said is not None:
            return said
    return run


def _from_hex(run: str) -> str | None:
    if len(run) % 2 or len(run) < 12:
        return None
    try:
        return _readable(bytes.fromhex(run))
    except ValueError:
        return None


def _from_base64(run: str) -> str | None:
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    if len(body) % 4 == 1:
        return None
    try:
        return _readable(base64.b64decode(body + "=" * (-len(body) % 4), validate=True))
    except (binascii.Error, ValueError):
        return None


def _readable(raw: bytes) -> str | None:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    good = sum(1 for char in text if char.isprintable() or char in "\n\t\r")
    return text if text and good >= MIN_PRINTABLE * len(text) else None


def _wrapped(text: str) -> str:
    """Blocks of lines that are one long token each, as encoders write them."""
    return str(_BLOCK.sub(lambda found: _unwrapped(found) + "\n", text)) if "\n" in text else text


def _continued(text: str) -> str:
    """Long tokens that go on in the next line."""
    return str(_WRAP.sub(_unwrapped, text)) if "\n" in text else text


def _unwrapped(found: Any) -> str:
    return "".join(part.removesuffix("\\").strip() for part in found[0].split("\n"))


def _spacing(text: str) -> str:
    """`a d a`, `a-d-a` and `ada [at] example (dot) org` written together."""
    text = str(_SPELLED_AT.sub("@", text))
    text = str(_SPELLED_DOT.sub(".", text))
    text = str(_SPOKEN.sub(r"\1@\2.\3", text))
    text = str(_DEFANGED.sub(r"http\1:", text))
    text = str(_SPLIT_KEY.sub(lambda found: "".join(found[0].split()), text))
    return str(_SPACED.sub(_closed_up, text))


def _closed_up(found: Any) -> str:
    run: str = found[0]
    lead = run[: len(run) - len(run.lstrip())]
    trail = run[len(run.rstrip()) :]
    return lead + run.strip()[::2] + trail


_STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("entities", _entities),
    ("percent", _percent),
    ("escapes", _escapes),
    ("wrapped", _wrapped),
    ("encodings", _encodings),
    ("comments", _comments),
    ("tags", _tags),
    ("look_alikes", look_alikes),
    ("joins", _joins),
    ("encodings", _encodings),
    ("continued", _continued),
    ("spacing", _spacing),
)

_CONTROL = re2.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PERCENT = re2.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPE = re2.compile(
    r"\\u\{([0-9A-Fa-f]{1,6})\}|\\u([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})|\\x([0-9A-Fa-f]{2})"
)
_COMMENT = re2.compile(r"(?s)<!--.*?-->|/\*.*?\*/")
_TAG = re2.compile(r"</?[A-Za-z][^<>]*>")
_JOIN = re2.compile(r"[\"'`]\s*[+&]\s*[\"'`]")
_ENCODED = re2.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_BLOCK = re2.compile(r"(?m)^[A-Za-z0-9+/_-]{12,}\r?\n(?:[A-Za-z0-9+/_-]{2,}={0,2}\r?(?:\n|$))+")
_WRAP = re2.compile(r"[A-Za-z0-9+/_=-]{12,}(?:\\?\r?\n[ \t]*[A-Za-z0-9+/_=-]{4,})+")
_SPELLED_AT = re2.compile(r"(?i)\s*[\[({<]\s*(?:at|@)\s*[\])}>]\s*")
_SPELLED_DOT = re2.compile(r"(?i)\s*[\[({<]\s*(?:dot|\.)\s*[\])}>]\s*")
_SPOKEN = re2.compile(r"(?i)\b([a-z0-9._-]+)\s+at\s+([a-z0-9-]+)\s+dot\s+([a-z]{2,10})\b")
_DEFANGED = re2.compile(r"(?i)\bhxxp(s?):")
_SPACED = re2.compile(
    "|".join(
        rf"(?:^|\s)(?:\S{sep}){{2,}}\S(?:$|\s)" for sep in (" ", "-", r"\.", "_", r"\*", r"\|")
    )
)

_SPLIT_KEY = re2.compile(
    r"\b(?:AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox[abp]-|AIza|eyJ)"
    r"[A-Za-z0-9_.-]{0,40}(?:[ \t]{1,2}[A-Za-z0-9_.-]{1,40}){1,12}"
)

_INVISIBLE = frozenset(("Cf", "Cc", "Mn", "Me", "Co", "Cn", "Cs"))
_BLANK_LETTERS = "\u115f\u1160\u3164\uffa0\u2800"
# Cyrillic, Greek, Armenian, Cherokee, phonetic and other letters with the shape of a Latin one.
_LOOK_ALIKES = {
    ord(pair[0]): pair[1]
    for pair in listed(
        "аa еe оo рp сc уy хx іi јj ѕs һh ԁd ԛq ԝw ьb ԍg ӏl кk мm нh тt вb гr пn үy"
        " АA ВB ЕE КK МM НH ОO РP СC ТT УY ХX ІI ЈJ ЅS ԌG ԚQ ԜW ҮY ЗE"
        " αa εe ιi κk νv οo ρp τt υu χx ωw γy ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX ϲc ϳj"
        " օo ոn սu հh ցg քp ԼL ՕO ՍU ՏS ղn տm ᎪA ᏴB ᏟC ᎠD ᎬE ᏀG ᎻH ᎥI ᎫJ ᏦK ᏞL ᎷM ᏢP ᏒR ᏚS ᎢT ᏙV"
        " ᎳW ᏃZ ɑa ɡg ıi ɩi ʟl ɴn ʀr ᴀa ʙb ᴄc ᴅd ᴇe ꜰf ɢg ʜh ɪi ᴊj ᴋk ᴍm ᴏo ᴘp ꜱs ᴛt ᴜu ᴠv ᴡw ʏy ᴢz"
        " øo ØO łl ŁL đd ĐD ∕/ ⁄/ ․. ‧. ∙. ·. 。. ǀl ∣l −-"
    )
}
