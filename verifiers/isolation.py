"""Where a verifier may run. What it declares counts only for built-in code.

Plug-ins run in workers, whatever they say: only code of this package is trusted with the event
loop.
"""

from __future__ import annotations

from verifiers.base import Verifier


def is_built_in(verifier: Verifier) -> bool:
    return type(verifier).__module__.startswith("verifiers.")


def runs_inline(verifier: Verifier) -> bool:
    """Only built-in code that says so may run on the event loop."""
    return is_built_in(verifier) and verifier.isolation == "inline"


def runs_remote(verifier: Verifier) -> bool:
    """Only built-in code may wait for a model on the event loop."""
    return is_built_in(verifier) and verifier.isolation == "remote"
