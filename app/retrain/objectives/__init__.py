"""The objectives by name. Their modules need torch and are imported when one is made."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from app.errors import ConfigError

if TYPE_CHECKING:
    from app.retrain.objectives.base import Objective

OBJECTIVES: Mapping[str, str] = {
    "tapered": "Tapered",
    "grpo": "Grpo",
    "dr_grpo": "DrGrpo",
    "dapo": "Dapo",
    "ppo": "Ppo",
    "cispo": "Cispo",
    "dpo": "Dpo",
    "sft": "Sft",
    "distill": "Distill",
    "reinforce": "Reinforce",
}
"""Name, which is also its module's → class. The first is the default."""

DEFAULT = next(iter(OBJECTIVES))


def check_name(name: str) -> None:
    """Raises `ConfigError` with the known names. Needs no torch."""
    if name in OBJECTIVES:
        return
    near = difflib.get_close_matches(name, OBJECTIVES, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise ConfigError(f"objective '{name}' is not known; known: {', '.join(OBJECTIVES)}{hint}")


def make_objective(name: str, options: Mapping[str, Any] | None = None) -> Objective:
    """The objective with its options. Raises `ConfigError` that names the option."""
    check_name(name)
    kind = getattr(importlib.import_module(f"{__name__}.{name}"), OBJECTIVES[name])
    try:
        made: Objective = TypeAdapter(kind).validate_python(dict(options or {}))
    except ValidationError as invalid:
        fault = invalid.errors(include_url=False)[0]
        place = ".".join(("objective_options", *(str(part) for part in fault["loc"])))
        known = ", ".join(kind.__dataclass_fields__) or "none"
        raise ConfigError(f"{place}: {fault['msg']} (options of {name}: {known})") from None
    return made
