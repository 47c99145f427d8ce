"""
Errors as responses: ``application/problem+json`` (RFC 9457), from one table.

A problem has ``type``, ``title``, ``status``, ``detail``, the stable ``code`` of the error, a ``hint`` where there is
one, ``errors`` (each fault with its JSON pointer), and the error's own fields (``allowed``, ``found`` …).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from backlog_store import errors as e
from backlog_store.codec import encode
from backlog_store.redacting import redacted
from backlog_store.rules.checks import shorten

__all__ = ["CODES", "HEADERS", "MEDIA_TYPE", "STATUSES", "HttpProblem", "problem", "status_of", "told"]

MEDIA_TYPE = "application/problem+json"
#: Of every answer, also of a refusal; what says something else of itself goes over them.
HEADERS: Mapping[str, str] = {
    "Cache-Control": "private, no-cache",  # nobody keeps for others what one credential may see
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_log = logging.getLogger("backlog_store.web")

#: The one table of statuses; the most derived class that is listed wins.
STATUSES: Mapping[type[BaseException], int] = {
    e.BacklogError: 500,
    e.InvalidInput: 422,
    e.NotFound: 404,
    e.AmbiguousId: 409,
    e.Conflict: 409,
    e.RevisionConflict: 409,  # 412 where the request named the revision in If-Match
    e.RequestReused: 422,
    e.RequestExpired: 410,
    e.NotAllowed: 403,
    e.BackendError: 500,
    e.BackendUnavailable: 503,
    e.OutcomeUnknown: 504,
    e.StorageFull: 507,
    e.ConfigError: 500,
}
#: What is refused before the store is asked, beyond what the name of the status says.
CODES: Mapping[str, str] = {
    "malformed": "400: the body, or a line of a batch, is no JSON, or nested too deep.",
    "cut_off": "400: the connection ended within the body.",
    "invalid_request": "400: the framework could not read the request.",
    "token_in_url": "400: a token stands in the address, which logs keep; rotate it.",
    "foreign_origin": "403: a browser's credential, and the request does not come from a page of this service.",
    "not_encrypted": "403: what signs somebody in would travel unencrypted.",
    "no_outlets": "409: this service sends webhooks nowhere.",
    "wrong_password": "422: name and password do not go together.",
    "too_many_requests": "429: more requests a second than one credential has.",
    "too_many_tries": "429: too many tries to sign in failed.",
    "oidc_provider": "502: the provider of OIDC does not answer as it should.",
    "internal": "500: a fault of the program; the log has it under the id of the request.",
}
_RETRY_S = {503: "5", 504: "1"}
_FIELDS = ("id", "kind", "candidates", "expected", "found", "held_by", "from_status", "to_status", "allowed",
           "request_id", "text", "offset", "suggestion", "departures", "titles", "what")  # fmt: skip
_TYPE = "urn:backlog-store:problem:"


class HttpProblem(e.BacklogError):
    """
    What is wrong with the request itself rather than with what it asks of the store.
    """

    code = "http"

    def __init__(
        self, status: int, message: str, *, code: str = "", hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.own_code = code or HTTPStatus(status).name.lower()
        self.headers = dict(headers or {})


def status_of(error: BaseException) -> int:
    """
    Return the status that an error is answered with.
    """
    if isinstance(error, HttpProblem):
        return error.status
    return next((STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES), 500)


def problem(status: int, code: str, detail: str, hint: str = "", **more: Any) -> dict[str, Any]:
    """
    Return the body of a problem.
    """
    body = {"type": f"{_TYPE}{code}", "title": HTTPStatus(status).phrase, "status": status, "detail": detail,
            "code": code, "hint": hint, **more}  # fmt: skip
    return {name: value for name, value in body.items() if value not in ("", (), [], None)}


def _of(error: BaseException, request: Request[Any, Any, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    if isinstance(error, HttpProblem):
        return problem(error.status, error.own_code, error.message, hint=error.hint), error.headers
    if isinstance(error, e.BacklogError):
        status = status_of(error)
        if isinstance(error, e.RevisionConflict) and "if-match" in request.headers:
            status = 412
        own = {name: getattr(error, name) for name in _FIELDS if hasattr(error, name)}
        faults = getattr(error, "faults", ())
        listed = [{"pointer": fault.pointer, "value": fault.value, "detail": fault.reason}
                  for fault in faults[:e.FAULTS_TOLD]]  # fmt: skip
        return problem(status, error.code, error.message, hint=error.hint, errors=listed, **own), {}
    if isinstance(error, ValidationException):
        listed = [
            {"pointer": f"/{one.get('key', '')}".rstrip("/"), "detail": one.get("message", ""),
             "in": one.get("source", "")}
            for one in (error.extra or ()) if isinstance(one, Mapping)
        ]  # fmt: skip
        detail = "the request is not valid" if listed else error.detail
        return problem(400, "invalid_request", detail, errors=listed), {}
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        code = HTTPStatus(error.status_code).name.lower()
        return problem(error.status_code, code, *_of_routing(error, request, headers)), headers
    return problem(500, "internal", "this should not happen; the server's log says more"), {}


def _of_routing(error: HTTPException, request: Request[Any, Any, Any], headers: Mapping[str, str]) -> tuple[str, str]:
    """
    Return detail and hint of what the framework refuses before a route of ours is asked.
    """
    path = shorten(request.url.path)
    is_api = path.startswith("/api/")
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {path}", "What there is: /api." if is_api else ""
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{path} does not take {request.method}", f"It takes {headers.get('allow', 'other methods')}."
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        most = request.route_handler.resolve_request_max_body_size() or 0
        return f"the body is larger than {most:,} bytes, which is what this takes", "Send it in parts."
    return error.detail, ""


def told(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """
    Return the response for an error; what is nobody's fault but the program's is logged with its traceback.
    """
    body, headers = _of(error, request)
    status: int = body["status"]
    if status >= 500:
        _log.error("%s %s: %s", request.method, request.url.path, redacted(str(error)),
                   exc_info=error if body["code"] == "internal" else None)  # fmt: skip
    if status in _RETRY_S:
        headers.setdefault("Retry-After", _RETRY_S[status])
    if not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", ""):
        if status == 401 and request.method == "GET":
            place = "/sign-in?" + urlencode({"back": f"{request.url.path}?{request.url.query or ''}".rstrip("?")})
            return Response(b"", status_code=303, headers={**HEADERS, **headers, "Location": place})
        from backlog_store.web.pages.render import error_page

        html, more = error_page(status, body["title"], body)
        return Response(html, status_code=status, media_type="text/html", headers={**HEADERS, **headers, **more})
    return Response(encode(body), status_code=status, media_type=MEDIA_TYPE, headers={**HEADERS, **headers})
