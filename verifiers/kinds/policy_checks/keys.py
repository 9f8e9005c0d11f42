"""Secrets by the shape of their issuer: keys, tokens, private keys, passwords in plain sight.

A long random-looking text alone is nothing (commit ids, digests, UUIDs). Placeholders such as
`sk-xxxx…` and `${TOKEN}` are no secrets.
"""

from __future__ import annotations

from collections.abc import Iterator

import re2

from verifiers.kinds.policy_checks.hits import Hit

MIN_DIFFERENT = 8
"""Different characters that a random body has at least; placeholders have fewer."""


def find_keys(text: str) -> Iterator[Hit]:
    """Keys and tokens with the prefix of their issuer."""
    for pattern in _KEYS:
        for found in pattern.finditer(text):
            if _is_random(found[1]) and not _PLACEHOLDER.search(found[1]):
                yield Hit("api_key", found[0])


def find_private_keys(text: str) -> Iterator[Hit]:
    for found in _PRIVATE_KEY.finditer(text):
        yield Hit("private_key", found[0])


def find_passwords(text: str) -> Iterator[Hit]:
    """Values that are named as a secret, and logins inside addresses."""
    for found in _ASSIGNED.finditer(text):
        value = found[1].strip("\"'`")
        quoted = value != found[1]
        if _is_secret_value(value) and (quoted or not _NAME_PATH.fullmatch(value)):
            yield Hit("password", value)
    for found in _LOGIN.finditer(text):
        if not _PLACEHOLDER.search(found[1]):
            yield Hit("password", found[1])


def _is_random(body: str) -> bool:
    digits = any(char.isdigit() for char in body)
    return digits and len(set(body)) >= MIN_DIFFERENT


def _is_secret_value(value: str) -> bool:
    """Letters with digits or signs, of some length, that stand for themselves."""
    if len(value) < 8 or _PLACEHOLDER.search(value) or _CODE.search(value):
        return False
    letters = any(char.isalpha() for char in value)
    others = any(char.isdigit() or char in "!@#$%^&*?~+=" for char in value)
    return letters and others and len(set(value)) >= 5


_KEYS = tuple(
    re2.compile(pattern)
    for pattern in (
        r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)([A-Z0-9]{16})",
        r"\bgh[pousr]_([A-Za-z0-9]{30,255})",
        r"\bgithub_pat_([A-Za-z0-9_]{30,255})",
        r"\bglpat-([A-Za-z0-9_-]{20,64})",
        r"\bxox[abeoprs]-([A-Za-z0-9-]{10,255})",
        r"hooks\.slack\.com/services/(T[A-Za-z0-9]+/B[A-Za-z0-9]+/[A-Za-z0-9]{16,})",
        r"\bAIza([A-Za-z0-9_-]{35})",
        r"\bya29\.([A-Za-z0-9_-]{20,})",
        r"\bsk-([A-Za-z0-9_-]{20,255})",
        r"\b[srp]k_(?:live|test)_([A-Za-z0-9]{16,255})",
        r"\bwhsec_([A-Za-z0-9]{20,255})",
        r"\bSG\.([A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})",
        r"\bnpm_([A-Za-z0-9]{30,64})",
        r"\bpypi-([A-Za-z0-9_-]{40,255})",
        r"\bhf_([A-Za-z0-9]{30,64})",
        r"\b[0-9]{8,10}:(AA[A-Za-z0-9_-]{32,35})",
        r"\b(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})",
        r"\bdop_v1_([a-f0-9]{64})\b",
        r"\bAC[a-f0-9]{32}:([a-f0-9]{32})\b",
    )
)
_PRIVATE_KEY = re2.compile(
    r"-----BEGIN +(?:[A-Z0-9]+ +){0,3}PRIVATE +KEY(?: +BLOCK)?-----|\bAGE-SECRET-KEY-1[A-Z0-9]{50,}"
)
_ASSIGNED = re2.compile(
    r"(?i)(?:password|passwd|pwd|passphrase|secret|secret_?key|client_?secret|api_?key|access_?key"
    r"|access_?token|auth_?token|private_?token)[\"'`]?\s{0,4}(?:[:=]|:=|=>|\bis\b)\s{0,4}"
    r"(\"[^\"\n]{8,200}\"|'[^'\n]{8,200}'|`[^`\n]{8,200}`|[^\s\"'`,;<>(){}]{8,200})"
)
_LOGIN = re2.compile(r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>]{1,100}:([^\s/@\"'<>]{3,200})@")
_PLACEHOLDER = re2.compile(
    r"(?i)\*{3}|x{4}|\.{3}|<[^>]*>|\$\{|\{\{|^\$[A-Z]|%s|your[_-]|my[_-]?(?:key|token|secret|password)"
    r"|placeholder|changeme|redacted|dummy|insert[_-]|env[:.\[]|process\.env|^(?:password|passwd)$"
)
_CODE = re2.compile(r"[()\[\]{}]|\.[a-z_]+\.|^(?:os|self|config|settings|request|args)\.")
_NAME_PATH = re2.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
