"""The second opinion on mathematics: Math-Verify, an optional installation (extra `math`).

Only for worker processes: it has been seen to hang, and its own limits are signals, which are off
here because the process is killed at its deadline. It is loaded at the first call, so that the
gateway itself never loads sympy.
"""

from __future__ import annotations

import importlib
import logging
from functools import lru_cache
from typing import Any, Literal

Opinion = Literal["equal", "different", "unknown", "missing"]

MODULES = ("math_verify",)
INSTALL = "pip install 'verivote[math]'"


def compare(reference: str, answer: str) -> Opinion:
    """How two LaTeX texts relate, in Math-Verify's eyes; `unknown` when it cannot read one."""
    try:
        math_verify = importlib.import_module("math_verify")
    except ImportError:
        return "missing"
    for name in ("math_verify", "latex2sympy2_extended"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        gold, said = _parse(reference), _parse(answer)
        if not gold or not said:
            return "unknown"
        # Not symmetric: the reference goes first.
        same = math_verify.verify(list(gold), list(said), timeout_seconds=None, raise_on_error=True)
    except Exception:
        return "unknown"
    return "equal" if same else "different"


@lru_cache(maxsize=256)
def _parse(text: str) -> tuple[Any, ...]:
    """What it understands of a text; its fallback, the bare string, is no understanding."""
    math_verify = importlib.import_module("math_verify")
    parsed = math_verify.parse(f"${text}$", parsing_timeout=None, raise_on_error=True)
    return tuple(value for value in parsed if not isinstance(value, str))
