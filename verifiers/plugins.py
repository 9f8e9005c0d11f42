"""Verifiers of others: a module that registers some, or one plain function.

A plug-in is named by `module`, `module:name` or `path/to/file.py:name`. What `name` is decides:
a class with the verifier contract is registered as it is; a function `(answer, reference) -> float`
becomes a verifier under its own name. Installed distributions name theirs in the entry point group
`verivote.verifiers`. All of them judge in worker processes, whatever they declare; loading one
runs its module here, so only the operator names plug-ins, never a request.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

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
from verifiers.extract import after_thinking

ENTRY_POINT_GROUP = "verivote.verifiers"

Scorer = Callable[[str, Any], float]
"""`(answer, reference) -> score`; the answer is the whole text after any thinking part."""


class BadPlugin(ValueError):
    """A plug-in cannot be loaded; the message says which and why."""


class FunctionVerifier:
    """A plain function as a verifier: a score of `pass_at` or more is a pass.

    With a reference a pass is proof, because the operator chose the function; without one it is
    not. An exception, or anything that is no number, is the verdict `error`.
    """

    name: ClassVar[str] = ""
    """Of the function; each has a class of its own below this one."""
    score: ClassVar[Scorer]
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "worker"
    options: ClassVar[Mapping[str, str]] = {
        "reference": "Handed to the function as it is; without it nothing is proven.",
        "pass_at": "Least score of a pass. Default 1.",
    }

    def detect(self, check: Check) -> Mapping[str, Any] | None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        pass_at = options.get("pass_at", 1.0)
        if isinstance(pass_at, bool) or not isinstance(pass_at, int | float):
            raise BadCheck("pass_at must be a number", param="pass_at")
        payload = (options.get("reference"), float(pass_at))
        return Prepared(payload=payload, decisive="reference" in options)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        reference, pass_at = prepared.payload
        score = type(self).score(after_thinking(candidate.text) or "", reference)
        if isinstance(score, bool):
            score = float(score)
        status = Status.PASS if score >= pass_at else Status.FAIL
        return Finding(status=status, score=score)


def installed_plugins(path: Sequence[str] | None = None) -> tuple[str, ...]:
    """The plug-ins of the distributions on `path` (`sys.path`), in order of their names."""
    found = {
        point.name: point.value
        for distribution in distributions(path=list(sys.path if path is None else path))
        for point in distribution.entry_points
        if point.group == ENTRY_POINT_GROUP
    }
    return tuple(found[name] for name in sorted(found))


def load_plugin(plugin: str) -> None:
    """Make its verifiers known in this process. Raises `BadPlugin`."""
    where, _, name = plugin.rpartition(":") if ":" in plugin else (plugin, "", "")
    try:
        module = _load_file(where) if where.endswith(".py") else importlib.import_module(where)
    except Exception as raised:
        raise BadPlugin(f"'{plugin}' cannot be loaded: {type(raised).__name__}: {raised}") from None
    if not name:
        return
    found = getattr(module, name, None)
    if isinstance(found, type):
        try:
            register(found)
        except TypeError as bad:
            raise BadPlugin(f"'{plugin}' is no verifier: {bad}") from None
    elif callable(found):
        register(type(name, (FunctionVerifier,), {"name": name, "score": staticmethod(found)}))
    else:
        raise BadPlugin(f"'{plugin}': there is no function or class '{name}' in '{where}'")


def _load_file(path: str) -> ModuleType:
    """The module of a file, once; its name is taken from the path, so equal names do not clash."""
    file = Path(path).resolve()
    name = f"verivote_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"'{file}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
