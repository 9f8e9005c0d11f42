"""docs/api.md names every error code, header, parameter and option, and no code that is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from app.api import chat, errors, health, invalid, models, nights, traces
from app.api.nights_query import RetrainForm
from app.api.traces_query import FeedbackForm, TraceQuery
from app.api.wire import ChatForm, VerifyForm
from app.errors import CacheError, ConfigError, VerivoteError

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
NEVER_SENT = {ConfigError.code}
SOURCES = [
    *(ROOT / "app" / "api").glob("*.py"),
    ROOT / "app" / "rim.py",
    ROOT / "app" / "store" / "nights.py",
]


def tree(root: type[VerivoteError]) -> Iterator[type[VerivoteError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def codes() -> set[str]:
    """Codes of the error tree, of bad fields, and those given at a raise."""
    given = {code for path in SOURCES for code in re.findall(r'code="(\w+)"', path.read_text())}
    of_the_tree = {error.code for error in tree(VerivoteError)}
    return (given | of_the_tree | set(get_args(invalid.FaultCode))) - NEVER_SENT


def documented_codes() -> set[str]:
    table = DOCS.split("## Errors")[1].split("## Traces")[0]
    rows = re.findall(r"^\| (`.*?) \| \d{3} \|", table, flags=re.MULTILINE)
    return {code for row in rows for code in re.findall(r"`(\w+)`", row)}


def test_every_error_code_is_documented_and_none_else() -> None:
    assert errors.ClientGone.code in codes()
    assert CacheError.code == VerivoteError.code

    assert documented_codes() == codes()


def test_every_header_of_ours_is_documented() -> None:
    written = {
        name
        for path in (ROOT / "app" / "api").glob("*.py")
        for name in re.findall(r'"(x-verivote-[a-z-]+|x-[a-z-]+|openai-[a-z-]+)"', path.read_text())
    }

    missing = {name for name in written if name not in DOCS.lower()} - {"x-accel-buffering"}
    assert missing == set()


@pytest.mark.parametrize("form", [ChatForm, VerifyForm, FeedbackForm, TraceQuery, RetrainForm])
def test_every_parameter_and_option_is_documented(form: type[BaseModel]) -> None:
    assert [name for name in form.model_fields if not re.search(rf"[`\"]{name}[`\"]", DOCS)] == []


def test_every_route_is_documented() -> None:
    app = FastAPI()
    for router in (chat.router, models.router, traces.router, nights.router, health.router):
        app.include_router(router)

    paths = [
        re.sub(r"\{(trace_id|night_id|model)\}", "{id}", path) for path in app.openapi()["paths"]
    ]
    assert [path for path in paths if f"{path}`" not in DOCS] == []
