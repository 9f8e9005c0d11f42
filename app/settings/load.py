"""File, environment and flags → settings, or one line about the first fault."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from app.errors import ConfigError
from app.settings.engines import EngineSettings
from app.settings.whole import Settings

ENV_PREFIX = "VERIVOTE__"


def load_settings(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge file, environment and flags. Raises `ConfigError` that names the key."""
    merged: dict[str, Any] = {}
    if file is not None:
        merged = _read_file(file)
    _merge(merged, _from_environ(environ))
    _merge(merged, flags or {})
    try:
        return Settings.model_validate(merged)
    except ValidationError as invalid:
        raise ConfigError(_explain(invalid)) from None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config file '{file}' does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise ConfigError(f"config file '{file}' is not TOML: {broken}") from None
    except OSError as unreadable:
        raise ConfigError(f"config file '{file}' cannot be read: {unreadable.strerror}") from None


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(ENV_PREFIX):
            continue
        *parents, key = name.removeprefix(ENV_PREFIX).lower().split("__")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{name}: '{parent}' is set as a value and as a section")
        place[key] = _listed(name, value)
    return found


def _listed(name: str, value: str) -> Any:
    """A list is written as JSON; every other value stays text, which the models convert."""
    if not value.startswith("["):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ConfigError(f"{name} is not a JSON list: {value!r}") from None


def _merge(into: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _explain(invalid: ValidationError) -> str:
    """The first fault as `key: what is wrong`, with the nearest known key for an unknown one.

    A key that is unknown goes first: it may be why another is missing.
    """
    faults = invalid.errors(include_url=False)
    fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
    path = _path(fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(fault["loc"][-1]), _known_keys(fault["loc"][:-1]), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"unknown key '{path}'{hint}"
    message = fault["msg"].removeprefix("Value error, ")
    shown = repr(fault.get("input")) if fault["type"] != "value_error" else ""
    got = f", got {shown}" if shown and len(shown) < 80 else ""
    return f"{path}: {message}{got}" if path else message


def _path(place: tuple[int | str, ...]) -> str:
    """`routes[2].match.regex`"""
    steps = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(steps).removeprefix(".")


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in path:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field is not None else None
        for option in (annotation, *get_args(annotation)):
            if isinstance(option, type) and issubclass(option, BaseModel):
                model = option
                break
        else:
            if path and path[0] == "engines":
                model = EngineSettings
    return list(model.model_fields)
