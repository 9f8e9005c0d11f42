"""What a caller may ask of the traces, as forms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams

from app.api.auth import Tenant
from app.api.invalid import explain, fault
from app.api.parse import parse_object
from app.api.wire import Int
from app.store.base import LabelKind, TraceFilter

LATEST = 4_102_444_800
"""1 January 2100: later times are a unit mistaken for seconds."""


class TraceQuery(BaseModel):
    """The query string of `GET /v1/traces`."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["verified", "agreed", "unverified", "held", "failed"] | None = None
    route: Literal["off", "easy", "hard"] | None = None
    model: Annotated[str, Field(max_length=256)] | None = None
    quick: Literal["split", "verifier_error", "cached", "unlabelled"] | None = None
    search: Annotated[str, Field(max_length=200)] | None = None
    since: Annotated[float, Field(ge=0, le=LATEST)] | None = None
    until: Annotated[float, Field(ge=0, le=LATEST)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    before: Annotated[str, Field(max_length=64)] | None = None


_A_NOTE_HAS_TEXT: dict[str, Any] = {
    "if": {"properties": {"label": {"const": "note"}}},
    "then": {"required": ["note"], "properties": {"note": {"type": "string", "minLength": 1}}},
}


class FeedbackForm(BaseModel):
    """The body of `POST /v1/traces/{id}/feedback`."""

    model_config = ConfigDict(strict=True, extra="forbid", json_schema_extra=_A_NOTE_HAS_TEXT)

    label: LabelKind
    sample: Annotated[Int, Field(ge=0, lt=2**31)] | None = Field(
        None, description="Index of a sample; null means the served answer."
    )
    correction: Annotated[str, Field(max_length=100_000)] | None = None
    note: Annotated[str, Field(max_length=10_000)] | None = Field(
        None, description="Required for the label `note`."
    )


def parse_filter(query: QueryParams, tenant: Tenant) -> TraceFilter:
    """The filter that a query string asks for. Raises `RequestError` with the parameter's name."""
    given: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, value in query.multi_items():
        if name.startswith("metadata[") and name.endswith("]"):
            metadata[name[len("metadata[") : -1]] = value
        elif name in given:
            raise fault("invalid_value", f"'{name}' is given twice.", name)
        else:
            given[name] = value
    try:
        form = TraceQuery.model_validate(given)
    except ValidationError as invalid:
        raise explain(invalid, TraceQuery) from None
    return TraceFilter(tenant=tenant.sees, metadata=metadata, **form.model_dump())


def parse_feedback(body: bytes) -> FeedbackForm:
    """Raises `RequestError` with the exact field."""
    try:
        form = FeedbackForm.model_validate(parse_object(body))
    except ValidationError as invalid:
        raise explain(invalid, FeedbackForm) from None
    if form.label == "note" and not form.note:
        raise fault("missing_required_parameter", "'note' is required for this label.", "note")
    return form
