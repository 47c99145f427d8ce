"""
The description of the API (OpenAPI 3.1), made from the table of routes and the types of bodies and answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from backlog_store import __version__
from backlog_store.web.problems import MEDIA_TYPE
from backlog_store.web.routing import Param, Route

__all__ = ["description"]

_PART = re.compile(r"\{(\w+):(\w+)\}")
_HEADERS: Mapping[str, str] = {
    "If-Match": "The ETag that this rests on, or *. A stale one is answered by 412.",
    "If-None-Match": "ETags that the caller has, or *. If one is that of the item, the answer is 304 without a body.",
    "Idempotency-Key": "The same key twice, for 14 days: the first answer again, and no second effect.",
    "Last-Event-ID": "The position of the last event that was seen.",
}
_REFUSALS: Mapping[int, str] = {
    400: "The request is not well-formed.",
    401: "Nobody is known by this credential.",
    403: "The role does not include this, or it lies outside of the scope.",
    404: "It is not there, or not for who asks.",
    408: "The body came too slowly.",
    409: "What is stored speaks against it: a taken key, a forbidden move, an ambiguous id.",
    410: "The answer to this Idempotency-Key is no longer kept.",
    412: "Somebody else was faster: the ETag is stale.",
    413: "The body is too large.",
    415: "The body is of another type than this takes.",
    421: "The service is not reached by this name.",
    422: "Every fault of the request, each with its pointer.",
    428: "If-Match is missing.",
    429: "Too many requests of one credential; try again after `Retry-After`.",
    503: "The database is away; try again after `Retry-After`.",
    507: "The store has no room left.",
    504: "Whether it happened is not known; ask again with the same Idempotency-Key.",
}


def description(routes: Iterable[Route], prefix: str) -> dict[str, Any]:
    """
    Return the description of the routes under *prefix*.
    """
    own = [route for route in routes if route.path.startswith(prefix)]
    types = [kind for route in own for kind in (route.body, *route.answers.values()) if _is_type(kind)]
    schemas, components = msgspec.json.schema_components(
        list(dict.fromkeys(types)), ref_template="#/components/schemas/{name}"
    )
    by_type = dict(zip(dict.fromkeys(types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in own:
        path = _PART.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Backlog", "version": __version__, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "A durable engineering backlog that machines write and people work.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }  # fmt: skip


def _is_type(kind: Any) -> bool:
    return kind not in (None, dict, list)


def _operation(route: Route, by_type: Mapping[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [
            *[_path_part(name, kind) for name, kind in _PART.findall(route.path)],
            *[_parameter(param) for param in route.params],
            *[{"name": name, "in": "header", "required": False, "description": _HEADERS[name],
               "schema": {"type": "string"}} for name in route.headers],
        ],
        "responses": {str(status): _answer(route, status, kind, by_type) for status, kind in route.answers.items()},
    }  # fmt: skip
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status in _refusals(route):
        answer = operation["responses"][str(status)] = {"description": _REFUSALS[status], "content": problem}
        if status in (429, 503, 504):
            answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    if route.body is not None:
        operation["requestBody"] = {
            "required": True, "content": {"application/json": {"schema": by_type[route.body]}},
        }  # fmt: skip
    elif route.takes:
        content: dict[str, Any] = {media: {} for media in route.takes}  # lines, forms: no one value of a schema
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _refusals(route: Route) -> list[int]:
    found = {400, 422, 503}
    if route.action is not None:
        found |= {401, 403, 421, 429}
    if "{" in route.path or route.body is not None:
        found |= {404, 409}
    if route.method not in ("GET", "DELETE"):
        found |= {408, 409, 410, 413, 415, 504, 507}
    if "If-Match" in route.headers:
        found |= {412, 428}
    return sorted(found)


def _path_part(name: str, kind: str) -> dict[str, Any]:
    told = "The rest of the path; it may hold slashes." if kind == "path" else ""
    return {"name": name, "in": "path", "required": True, "description": told,
            "schema": {"type": "string", "minLength": 1}}  # fmt: skip


def _parameter(param: Param) -> dict[str, Any]:
    schema = {"type": "array", "items": param.schema} if param.many else dict(param.schema)
    return {"name": param.name, "in": "query", "required": False, "description": param.help, "schema": schema}


def _answer(route: Route, status: int, kind: Any, by_type: Mapping[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if status not in (204, 303, 304):
        schema = by_type[kind] if _is_type(kind) else {"type": "object"} if kind is dict else {}
        answer["content"] = {route.gives: {"schema": schema} if route.gives == "application/json" else {}}
    return answer


_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What is wrong, as RFC 9457 has it; more members are those of the error.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable: rely on it, never on the text."},
        "hint": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "value": {"type": "string"},
                               "detail": {"type": "string"}},
            },
        },
    },
}  # fmt: skip
