"""Which windows of the log a caller may have compared, as a form."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams

from app.api.invalid import explain, fault
from app.retrain.moving import BEFORE_DAYS, DAYS, MOST_DAYS


class DriftQuery(BaseModel):
    """The query string of `GET /v1/admin/drift` and of the page `/drift`."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = DAYS
    before: Annotated[int, Field(ge=1, le=MOST_DAYS)] = BEFORE_DAYS
    engine: Annotated[str, Field(max_length=256)] = ""


def parse_drift(query: QueryParams) -> DriftQuery:
    """Raises `RequestError` with the parameter's name."""
    given: dict[str, str] = {}
    for name, value in query.multi_items():
        if name in given:
            raise fault("invalid_value", f"'{name}' is given twice.", name)
        given[name] = value
    try:
        return DriftQuery.model_validate(given)
    except ValidationError as invalid:
        raise explain(invalid, DriftQuery) from None
