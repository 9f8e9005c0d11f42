"""`verivote config`: is it valid, what is in force, what may be written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import typer

from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.settings import Settings

cli = typer.Typer(
    help="Check, show and describe the settings.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

REDACTED = "***"


@cli.command()
def check(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Say whether file and environment make valid settings; the first fault by its key."""
    from app.main import check_settings  # loads the whole gateway, which the others do not need

    settings = settings_from(config, data)
    check_settings(settings)
    engines, routes = sorted(settings.engines), [route.name for route in settings.routes]
    if as_json:
        typer.echo(json.dumps({"valid": True, "engines": engines, "routes": routes}))
    else:
        named = ", ".join(engines) or "none named: serve takes --upstream or --embedded"
        also = f"; routes: {', '.join(routes)}" if routes else ""
        typer.echo(f"valid; engines: {named}{also}")


@cli.command()
def show(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Print the settings in force, as TOML that can be used as a file; secrets are left out."""
    settings = redact(settings_from(config, data))
    typer.echo(json.dumps(settings, indent=2) if as_json else to_toml(settings).rstrip())


@cli.command()
def schema() -> None:
    """Print the JSON schema of the settings."""
    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))


def redact(settings: Settings) -> dict[str, Any]:
    """The settings as JSON values, with keys and passwords replaced by `***`."""
    shown = settings.model_dump(mode="json")
    for engine in shown["engines"].values():
        if engine["api_key"] and not engine["api_key"].startswith("env:"):
            engine["api_key"] = REDACTED
        engine["base_url"] = _without_password(engine["base_url"])
    for section in ("store", "cache"):
        shown[section]["url"] = _without_password(shown[section]["url"])
    return shown


def to_toml(values: Mapping[str, Any], path: tuple[str, ...] = (), *, item: bool = False) -> str:
    """TOML of nested JSON values; null is left out, because TOML has none.

    `item`: the values are those of one table of an array, `[[path]]`.
    """
    text = "".join(
        f"{_key(key)} = {_value(value)}\n"
        for key, value in values.items()
        if value is not None and not isinstance(value, Mapping) and not _is_tables(value)
    )
    if item or (text and path):
        name = ".".join(_key(part) for part in path)
        text = f"{f'[[{name}]]' if item else f'[{name}]'}\n{text}\n"
    for key, value in values.items():
        if isinstance(value, Mapping):
            text += to_toml(value, (*path, key))
        elif _is_tables(value):
            text += "".join(to_toml(each, (*path, key), item=True) for each in value)
    return text


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(v) for v in value if v is not None) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _without_password(url: str) -> str:
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", rf"\1:{REDACTED}@", url)
