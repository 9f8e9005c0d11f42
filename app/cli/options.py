"""The options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from app.settings import Settings, load_settings

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Folder of all state.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_from(
    config: Path | None, data: Path | None, flags: Mapping[str, Any] | None = None
) -> Settings:
    """Settings from file, environment and flags. Raises `ConfigError`."""
    merged = dict(flags or {})
    if data is not None:
        merged["data"] = data
    return load_settings(config, flags=merged)
