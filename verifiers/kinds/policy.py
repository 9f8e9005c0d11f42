"""`policy`: nothing forbidden is in the response, also not in disguise.

Personal data, secrets, hosts that are not allowed, topics by list, patterns of your own. All is
looked for in every view of the text and of the tool arguments (policy_checks/views.py), the
thinking part included. It fails closed: what it cannot look through is an error, and an error of a
policy keeps an answer from the vote. It knows shapes, not meaning; a pass is no proof of safety.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import re2

from verifiers.base import (
    Answer,
    BadCheck,
    Candidate,
    Check,
    Finding,
    Isolation,
    Prepared,
    Role,
    Status,
    register,
)
from verifiers.kinds.policy_checks.hits import Hit
from verifiers.kinds.policy_checks.hosts import find_foreign_hosts, read_host
from verifiers.kinds.policy_checks.keys import find_keys, find_passwords, find_private_keys
from verifiers.kinds.policy_checks.personal import (
    find_cards,
    find_emails,
    find_ibans,
    find_phones,
    find_ssns,
)
from verifiers.kinds.policy_checks.topics import (
    MAX_PHRASE_CHARS,
    MAX_PHRASES,
    compile_topics,
    find_topics,
)
from verifiers.kinds.policy_checks.views import Tangled, views_of

MAX_CHARS = 100_000
"""Text and tool arguments together; more is not looked through."""
MAX_LISTED = 1_000
MAX_PATTERNS = 50
MAX_PATTERN_CHARS = 1_000
MAX_PATTERN_MEMORY = 2**23
MAX_HITS_SHOWN = 20

Find = Callable[[str], Iterator[Hit]]

PII: Mapping[str, Find] = {
    "email": find_emails,
    "phone": find_phones,
    "card": find_cards,
    "ssn": find_ssns,
    "iban": find_ibans,
}
SECRETS: Mapping[str, Find] = {
    "api_key": find_keys,
    "private_key": find_private_keys,
    "password": find_passwords,
}
GROUPS = {"pii": tuple(PII), "secrets": tuple(SECRETS)}
FINDERS: Mapping[str, Find] = {**PII, **SECRETS}


KNOWN_BAD: Mapping[str, str] = {
    "email": "Write to canary@known-bad.com for the rest.",
    "card": "Pay with 4111 1111 1111 1111 today.",
    "iban": "Send it to GB82 WEST 1234 5698 7654 32.",
}
"""Nobody's data, of the form that must be found."""
KNOWN_BAD_HOST = "See https://canary.known-bad.com/ for the rest."


@dataclass(frozen=True, slots=True)
class Rules:
    """The options, ready to be used on a view."""

    forbid: tuple[str, ...]
    hosts: tuple[str, ...] | None
    """None: every host is allowed."""
    topics: Mapping[str, Any]
    patterns: tuple[Any, ...]
    exempt: frozenset[str]

    def hits(self, view: str) -> Iterator[Hit]:
        for name in self.forbid:
            for hit in FINDERS[name](view):
                if hit.text.casefold() not in self.exempt:
                    yield hit
        if self.hosts is not None:
            yield from find_foreign_hosts(view, self.hosts)
        yield from find_topics(view, self.topics)
        for pattern in self.patterns:
            for found in pattern.finditer(view):
                yield Hit("pattern", found[0])


@register
class Policy:
    name: ClassVar[str] = "policy"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "policy"
    isolation: ClassVar[Isolation] = "worker"
    options: ClassVar[Mapping[str, str]] = {
        "forbid": "List of `pii`, `secrets` or single kinds such as `email`, `card`, `api_key`.",
        "allowed_hosts": "The only hosts that may be named: `example.org`, `*.example.org`.",
        "forbidden_topics": "List of words and phrases that must not appear in any spelling.",
        "forbidden_patterns": "List of RE2 patterns that must match nowhere.",
        "exempt": "List of exact values that are no personal data, e.g. a support address.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        hosts = _texts(options, "allowed_hosts", MAX_LISTED, empty=True)
        rules = Rules(
            forbid=_read_forbid(options),
            hosts=None if hosts is None else _read_hosts(hosts),
            topics=_read_topics(options),
            patterns=_read_patterns(options),
            exempt=frozenset(
                text.casefold() for text in _texts(options, "exempt", MAX_LISTED) or ()
            ),
        )
        if not (rules.forbid or rules.hosts is not None or rules.topics or rules.patterns):
            raise BadCheck("a policy must forbid something", param="forbid")
        return Prepared(payload=rules)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """Made-up personal data of the forbidden kinds, and a host that nobody allows."""
        rules: Rules = prepared.payload
        texts = [KNOWN_BAD[name] for name in rules.forbid if name in KNOWN_BAD]
        if rules.hosts is not None:
            texts.append(KNOWN_BAD_HOST)
        return tuple(Candidate(text=text) for text in texts)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        rules: Rules = prepared.payload
        texts = [candidate.text]
        for call in candidate.tool_calls:
            texts += [call.name, call.arguments]
        if sum(map(len, texts)) > MAX_CHARS:
            return Finding(status=Status.ERROR, reason="too_long")
        found: dict[tuple[str, str], str] = {}
        try:
            for view, how in views_of("\n".join(texts)).items():
                for hit in rules.hits(view):
                    found.setdefault((hit.kind, hit.masked), how)
        except Tangled:
            if not found:
                return Finding(status=Status.ERROR, reason="too_many_layers")
        if not found:
            return Finding(status=Status.PASS, reason="nothing_forbidden")
        shown = [
            {"kind": kind, "text": text, "found_in": how}
            for (kind, text), how in list(found.items())[:MAX_HITS_SHOWN]
        ]
        kinds = sorted({kind for kind, _ in found})
        return Finding(
            status=Status.FAIL,
            reason=f"forbidden_{kinds[0]}" if len(kinds) == 1 else "forbidden_content",
            evidence={"kinds": kinds, "found": shown},
        )


def _texts(
    options: Mapping[str, Any], name: str, most: int, *, empty: bool = False
) -> tuple[str, ...] | None:
    """The list of texts under a name; None when the option is not given."""
    if name not in options:
        return None
    value = options[name]
    if not isinstance(value, list | tuple) or not (empty or value) or len(value) > most:
        raise BadCheck(f"{name} must be a list of at most {most} texts", param=name)
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item.strip():
            raise BadCheck("must be a text", param=f"{name}[{index}]")
    return tuple(value)


def _read_forbid(options: Mapping[str, Any]) -> tuple[str, ...]:
    kinds: list[str] = []
    for index, name in enumerate(_texts(options, "forbid", len(FINDERS) + len(GROUPS)) or ()):
        if name not in GROUPS and name not in FINDERS:
            known = (*GROUPS, *FINDERS)
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise BadCheck(
                f"'{name[:40]}' cannot be forbidden; {hint}known: {', '.join(known)}",
                param=f"forbid[{index}]",
            )
        kinds += GROUPS.get(name, (name,))
    return tuple(dict.fromkeys(kinds))


def _read_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    read = []
    for index, host in enumerate(hosts):
        try:
            read.append(read_host(host))
        except ValueError as unfit:
            raise BadCheck(f"{unfit}, got {host!r:.60}", param=f"allowed_hosts[{index}]") from None
    return tuple(read)


def _read_topics(options: Mapping[str, Any]) -> Mapping[str, Any]:
    phrases = _texts(options, "forbidden_topics", MAX_PHRASES) or ()
    for index, phrase in enumerate(phrases):
        param = f"forbidden_topics[{index}]"
        if len(phrase) > MAX_PHRASE_CHARS:
            raise BadCheck(f"a topic has at most {MAX_PHRASE_CHARS} characters", param=param)
        try:
            compile_topics([phrase])
        except ValueError as unfit:
            raise BadCheck(f"topic {phrase!r:.40} {unfit}", param=param) from None
    return compile_topics(phrases)


def _read_patterns(options: Mapping[str, Any]) -> tuple[Any, ...]:
    compiled = []
    limits = re2.Options()
    limits.max_mem = MAX_PATTERN_MEMORY
    limits.log_errors = False
    for index, pattern in enumerate(_texts(options, "forbidden_patterns", MAX_PATTERNS) or ()):
        param = f"forbidden_patterns[{index}]"
        if len(pattern) > MAX_PATTERN_CHARS:
            raise BadCheck(f"a pattern has at most {MAX_PATTERN_CHARS} characters", param=param)
        try:
            read = re2.compile(pattern, limits)
        except re2.error as refused:
            raise BadCheck(f"not a usable RE2 pattern: {str(refused)[:100]}", param=param) from None
        if read.search(""):
            raise BadCheck("the pattern matches the empty text, so everything", param=param)
        compiled.append(read)
    return tuple(compiled)
