"""Which configured route a request takes: the first whose conditions all hold.

Pure: a route reads the alias, the metadata, the system prompt and the last user message, and never
takes an option from them. What a route asks for fills in what the request left open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import re2

from app.errors import ConfigError
from app.plan import Reuse
from app.settings import MatchSettings, RouteSettings
from app.task import Effort, OnUnverified, RuleName, Task
from verifiers.base import VerifierSpec

PATTERN_MEMORY = 8 * 2**20
"""Bytes for one compiled pattern; RE2 searches in linear time within them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedRoute:
    """What a route says of the requests that match it; None and empty leave it to others."""

    name: str
    key: str = ""
    """Where the settings have it: `routes[0]`."""
    verifiers: tuple[VerifierSpec, ...] = ()
    """Added to those of the request."""
    rule: RuleName | None = None
    effort: Effort | None = None
    max_error: float | None = None
    on_unverified: OnUnverified | None = None
    policy: str = ""
    fallback: str = ""
    reuse: Reuse = "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRoute:
    """A route with its conditions made ready."""

    route: MatchedRoute
    alias: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    system_sha256: str = ""
    pattern: Any = None
    """A compiled RE2 pattern; None without one."""

    def matches(self, task: Task) -> bool:
        """Cheapest conditions first."""
        return (
            (not self.alias or task.alias == self.alias)
            and all(task.metadata.get(key) == value for key, value in self.metadata.items())
            and (not self.system_sha256 or _sha256(task.system()) == self.system_sha256)
            and (self.pattern is None or self.pattern.search(_utf8(task.prompt())) is not None)
        )


def compile_route(
    settings: RouteSettings, place: int, verifiers: tuple[VerifierSpec, ...]
) -> CompiledRoute:
    """The route of `routes[place]`. Raises `ConfigError` for a pattern that RE2 refuses."""
    match = settings.match
    return CompiledRoute(
        route=MatchedRoute(
            name=settings.name,
            key=f"routes[{place}]",
            verifiers=verifiers,
            rule=settings.rule,
            effort=settings.effort,
            max_error=settings.max_error,
            on_unverified=settings.on_unverified,
            policy=settings.policy,
            fallback=settings.fallback,
            reuse=settings.reuse,
        ),
        alias=match.alias,
        metadata=match.metadata,
        system_sha256=match.system_sha256,
        pattern=_compiled(match, f"routes[{place}].match.regex"),
    )


def match_route(task: Task, routes: Sequence[CompiledRoute]) -> MatchedRoute | None:
    """The first route that the task matches, or None."""
    return next((each.route for each in routes if each.matches(task)), None)


def with_route(task: Task, route: MatchedRoute | None) -> Task:
    """The task with the route's options where the request set none itself."""
    if route is None:
        return task
    filled: dict[str, Any] = {
        "rule": route.rule,
        "effort": route.effort,
        "on_unverified": route.on_unverified,
    }
    for name in list(filled):
        if filled[name] is None or name in task.options.asked:
            del filled[name]
    return replace(task, options=replace(task.options, **filled)) if filled else task


def _compiled(match: MatchSettings, key: str) -> Any:
    if not match.regex:
        return None
    limits = re2.Options()
    limits.max_mem = PATTERN_MEMORY
    limits.log_errors = False
    try:
        return re2.compile(match.regex, limits)
    except re2.error as refused:
        said = refused.args[0] if refused.args else refused
        why = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ConfigError(f"{key} is not an RE2 pattern: {why[:200]}") from None


def _sha256(text: str) -> str:
    return hashlib.sha256(_utf8(text)).hexdigest()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
