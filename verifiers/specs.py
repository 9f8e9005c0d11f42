"""A verifier as asked for: its name, the options that every verifier knows, and its hash.

What the rest of the options means is the verifier's own business (`prepare`).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verifiers.base import BadCheck, Verifier, VerifierSpec, get_verifier

WEIGHT = "weight"
"""The option that every verifier knows: its share of the reward among graded verifiers."""
HIDDEN = "hidden"
"""The option that every verifier knows: the reply counts it and does not name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSpec:
    """A spec whose verifier exists and knows all of its options."""

    verifier: Verifier
    options: Mapping[str, Any]
    """Those that are the verifier's own."""
    weight: float
    hidden: bool
    config_hash: str


def read_spec(spec: VerifierSpec) -> KnownSpec:
    """Raises `BadCheck` with the path below the spec."""
    verifier = get_verifier(spec.use)
    options = dict(spec.options)
    weight, hidden = _take_weight(options), _take_hidden(options)
    _refuse_unknown(options, verifier)
    return KnownSpec(
        verifier=verifier,
        options=options,
        weight=weight,
        hidden=hidden,
        config_hash=hash_options(spec.options),
    )


def check_spec(spec: VerifierSpec) -> None:
    """Whether a spec of the settings can be meant at all. Raises `BadCheck` with the full path.

    Its options are read when a request comes, because they may refer to it.
    """
    try:
        read_spec(spec)
    except BadCheck as bad:
        raise with_path(bad, spec) from None


def with_path(bad: BadCheck, spec: VerifierSpec) -> BadCheck:
    """The same complaint with its place in the request."""
    if not bad.request:
        bad.param = ".".join(part for part in (spec.param, bad.param) if part)
    return bad


def hash_options(options: Mapping[str, Any]) -> str:
    """First 12 hex digits of sha256 over the canonical JSON. Raises `BadCheck` for what is none."""
    try:
        text = json.dumps(options, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as unfit:
        raise BadCheck(f"options must be JSON: {str(unfit)[:80]}") from None
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _take_weight(options: dict[str, Any]) -> float:
    weight = options.pop(WEIGHT, 1.0)
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 < weight <= 1_000_000 or not math.isfinite(weight):
        raise BadCheck(f"a weight is a number over 0, got {weight!r:.40}", param=WEIGHT)
    return float(weight)


def _take_hidden(options: dict[str, Any]) -> bool:
    hidden = options.pop(HIDDEN, False)
    if not isinstance(hidden, bool):
        raise BadCheck(f"hidden is true or false, got {hidden!r:.40}", param=HIDDEN)
    return hidden


def _refuse_unknown(options: Mapping[str, Any], verifier: Verifier) -> None:
    for option in options:
        if option not in verifier.options:
            known = (*verifier.options, WEIGHT, HIDDEN)
            near = difflib.get_close_matches(str(option), known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise BadCheck(
                f"'{option}' is not an option of verifier '{verifier.name}'; "
                f"{hint}known: {', '.join(known)}",
                param=str(option),
            )
