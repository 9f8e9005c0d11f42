"""Every failure that crosses a boundary, as one tree.

An error knows its HTTP status, OpenAI type and code and the field or key it is about;
`api/errors.py` only renders it. The class docstring is the default message, so a bare raise reads
well.
"""

from __future__ import annotations

from typing import ClassVar


class VerivoteError(Exception):
    """The request could not be answered."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str = "",
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").split("\n", 1)[0]
        self.param = param
        self.error_code = code or self.code
        self.http_status = status or self.status
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry
        """Value of `x-should-retry`; None leaves it to the client."""
        super().__init__(self.message)


class RequestError(VerivoteError):
    """The request is not valid."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class ModelNotFound(RequestError):
    """This model does not exist."""

    status = 404
    code = "model_not_found"


class NotFound(RequestError):
    """There is nothing at this address."""

    status = 404
    code = "not_found"


class BodyTooLarge(RequestError):
    """The request body is too large."""

    status = 413
    type = "request_too_large"
    code = "request_too_large"


class Unauthenticated(VerivoteError):
    """A valid API key is required: send it as `Authorization: Bearer <key>`."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(VerivoteError):
    """This key may not do that."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class VerificationFailed(VerivoteError):
    """No candidate passed verification."""

    status = 422
    type = "verification_error"
    code = "verification_failed"


class Overloaded(VerivoteError):
    """The gateway is at capacity; try again shortly."""

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"


class EngineError(VerivoteError):
    """The model server could not answer."""

    status = 502
    type = "upstream_error"
    code = "upstream_error"


class EngineUnavailable(EngineError):
    """The model server cannot be reached."""

    code = "upstream_unavailable"


class EngineStarting(EngineUnavailable):
    """The model server is starting; try again shortly."""

    status = 503
    type = "service_unavailable_error"
    code = "upstream_starting"


class EngineTimeout(EngineError):
    """The model server did not answer in time."""

    status = 504
    type = "upstream_timeout"
    code = "upstream_timeout"


class EngineGarbage(EngineError):
    """The model server answered with something that is not a completion."""

    code = "upstream_bad_response"


class EngineRefused(EngineError):
    """The model server refused the request; its own status, code and param are passed on."""

    status = 400
    type = "invalid_request_error"


class EngineRateLimited(EngineError):
    """The model server is rate limiting the gateway; try again later."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class ConfigError(VerivoteError):
    """The configuration is not valid."""

    code = "invalid_config"


class StoreError(VerivoteError):
    """The trace could not be written."""

    status = 503
    type = "service_unavailable_error"
    code = "store_unavailable"


class CacheError(VerivoteError):
    """The cache could not be used."""
