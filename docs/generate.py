"""Write the parts of docs/ that the code knows best, or check that they are up to date.

python docs/generate.py            # rewrites what is between the markers
python docs/generate.py --check    # exit 1 and name the page that is not up to date
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.cli import cli
from app.metrics import REGISTRY
from app.settings import (
    ENV_PREFIX,
    EngineSettings,
    GateSettings,
    GuardSettings,
    MatchSettings,
    PoolSettings,
    RetrainSettings,
    RouteSettings,
    Settings,
    ShareSettings,
    VerifierSettings,
)

DOCS = Path(__file__).parent


def settings_tables() -> str:
    """One table for each section of the settings, in the order of the model."""
    parts = []
    alone = []
    for name, field in Settings.model_fields.items():
        model = field.annotation
        if name == "engines":
            parts.append(section("engines.main", EngineSettings))
        elif name == "routes":
            parts.append(section("routes", RouteSettings, many=True))
            parts.append(section("routes.match", MatchSettings, many=True))
        elif isinstance(model, type) and issubclass(model, BaseModel):
            parts.append(section(name, model))
            if model is VerifierSettings:
                parts.append(section("verifiers.pools.NAME", PoolSettings))
            if model is RetrainSettings:
                parts.append(section("retrain.guards", GuardSettings))
                parts.append(section("retrain.gate", GateSettings))
                parts.append(section("retrain.canary", ShareSettings))
        else:
            alone.append(row("", name, field))
    return "\n".join([*parts, "### Top level\n", HEAD, *alone, ""])


HEAD = "| key | values | default | meaning | environment |\n|---|---|---|---|---|"


def section(name: str, model: type[BaseModel], *, many: bool = False) -> str:
    """`many`: a list of tables, which the environment has only as a whole."""
    whole = name.partition(".")[0].upper() if many else ""
    rows = [row(f"{name}.", key, field, whole) for key, field in model.model_fields.items()]
    title = f"[[{name}]]" if many and "." not in name else f"[{name}]"
    return "\n".join([f"### {title}\n", HEAD, *rows, ""])


def row(prefix: str, key: str, field: FieldInfo, whole: str = "") -> str:
    environment = ENV_PREFIX + (whole or f"{prefix}{key}".replace(".", "__").upper())
    cells = (
        f"`{key}`",
        values_of(field),
        default_of(field),
        field.description or "",
        f"`{environment}`",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def values_of(field: FieldInfo) -> str:
    limits = [
        f"{word} {getattr(bound, attribute):g}"
        for bound in field.metadata
        for attribute, word in (("ge", "≥"), ("gt", ">"), ("le", "≤"))
        if hasattr(bound, attribute)
    ]
    return ", ".join([type_name(field.annotation), *limits])


def type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " · ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(type_name(option) for option in arguments if option is not type(None))
    if origin is tuple:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    names = {str: "text", int: "integer", float: "number", bool: "true · false", Path: "path"}
    return names[annotation]


def default_of(field: FieldInfo) -> str:
    if field.default_factory is not None and field.annotation is Path:
        return "see meaning"
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "not set"
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def command_help() -> str:
    """`--help` of every command, as a terminal of 80 columns shows it."""
    return "\n".join(
        f"### verivote {' '.join(path)}".rstrip() + f"\n\n```text\n{text.strip()}\n```\n"
        for path, text in _helps(typer.main.get_command(cli), ())
    )


def _helps(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    context = command.make_context(
        "verivote " + " ".join(path) if path else "verivote",
        [],
        resilient_parsing=True,
        max_content_width=80,
        terminal_width=80,
    )
    yield path, command.get_help(context)
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            yield from _helps(command.get_command(context, name), (*path, name))


def metrics_table() -> str:
    """Every metric of `/metrics`, in the order in which they are defined."""
    rows = []
    for family in REGISTRY.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | {family.documentation} |")
    return "\n".join(["| metric | kind | counts |", "|---|---|---|", *rows, ""])


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": settings_tables,
    "cli.md": command_help,
    "operations.md": metrics_table,
}


def render(page: Path, generated: str) -> str:
    """The page with its generated part replaced; the text around the markers stays."""
    pattern = re.compile(r"(<!-- generated -->\n).*(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda m: f"{m[1]}\n{generated}\n{m[2]}", page.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    stale = []
    for name, generate in PAGES.items():
        page = DOCS / name
        wanted = render(page, generate())
        if page.read_text(encoding="utf-8") != wanted:
            stale.append(name)
            if "--check" not in arguments:
                page.write_text(wanted, encoding="utf-8")
    if stale and "--check" in arguments:
        sys.stderr.write(f"not up to date: {', '.join(stale)}; run make fix\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
