"""What a caller may ask of the nights, as a form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.invalid import explain, fault
from app.api.parse import parse_object
from app.retrain.objectives import OBJECTIVES


class RetrainForm(BaseModel):
    """The body of `POST /v1/admin/retrain`; none at all means `{}`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    objective: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="How to learn, instead of `retrain.objective`."
    )
    day: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = Field(
        None, description="The night of which day; null means today, in UTC."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The night that is asked for."""

    objective: str
    """Empty: that of the settings."""
    day: date | None


def parse_retrain(body: bytes) -> Wanted:
    """Raises `RequestError` with the exact field."""
    try:
        form = RetrainForm.model_validate(parse_object(body) if body.strip() else {})
    except ValidationError as invalid:
        raise explain(invalid, RetrainForm) from None
    if form.objective is not None and form.objective not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        message = f"'{form.objective}' is no objective; known: {known}."
        raise fault("invalid_value", message, "objective")
    return Wanted(objective=form.objective or "", day=_day(form.day))


def _day(said: str | None) -> date | None:
    try:
        return date.fromisoformat(said) if said is not None else None
    except ValueError:
        raise fault("invalid_value", f"'{said}' is no day of the calendar.", "day") from None
