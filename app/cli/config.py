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
    settings = settings_from(config, data)
    engines = sorted(settings.engines)
    if as_json:
        typer.echo(json.dumps({"valid": True, "engines": engines}))
    else:
        named = ", ".join(engines) or "none named: serve takes --upstream or --embedded"
        typer.echo(f"valid; engines: {named}")


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


def to_toml(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """TOML of nested mappings whose leaves are strings, numbers, booleans and lists of these."""
    lines = [
        f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
        if not isinstance(value, Mapping)
    ]
    text = "\n".join(lines) + "\n" if lines else ""
    if text and path:
        text = f"[{'.'.join(_key(part) for part in path)}]\n{text}\n"
    for key, value in values.items():
        if isinstance(value, Mapping):
            text += to_toml(value, (*path, key))
    return text


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _without_password(url: str) -> str:
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", rf"\1:{REDACTED}@", url)
