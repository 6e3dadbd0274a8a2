"""Routes → the OpenAPI 3.1 document that describes them.

Served at `GET /openapi.json` and committed as `schemas/control.openapi.json`. Invariant: nothing in it is
written twice. Paths come from the routes, bodies from the structs that read and write them, and the
statuses of errors from what a route takes: a key, a body, a parameter in its path.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from collector.control.doors.request import ANY, Operation, Route
from collector.control.doors.statuses import STATUSES
from schemas.control import ErrorBody

TITLE = "Spanward control endpoint"
_DESCRIPTION = (
    "Agents ask before they act; verdicts are 200. "
    "Amounts are decimal USD strings with nine places, times RFC 3339 UTC."
)
# An asker's own method says nothing about the page; these two stand for all.
_METHODS_OF_ANY = ("GET", "POST")
_REFERENCE = "#/components/schemas/{name}"
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An agent's or a tenant's key, or an admin token."},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same, in another header."},
}
_MEANINGS = {
    400: "What was sent cannot be used; the message names the field.",
    401: "No credential, or one that is not known, expired or revoked.",
    403: "The credential may not do this.",
    404: "Nothing of that name that this credential may see.",
    409: "It was decided or resolved in another way before.",
    413: "The body is larger than the limit of its path.",
    415: "The body is not JSON.",
    429: "A budget is used up; `retry-after` says when it starts anew.",
    503: "It cannot be recorded now, so it was not done; retry after the seconds of `retry-after`.",
}

Json = dict[str, object]


def openapi(routes: Iterable[Route]) -> Json:
    """The whole document; routes without an `Operation` are left out."""
    described = [(route, route.operation) for route in routes if route.operation is not None]
    paths: dict[str, Json] = {}
    for route, operation in described:
        for method in _METHODS_OF_ANY if route.method == ANY else (route.method,):
            paths.setdefault(route.path, {})[method.lower()] = _operation(method, route.path, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": "1", "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": _schemas(operation for _, operation in described), "securitySchemes": _SECURITY},
    }


def _schemas(operations: Iterable[Operation]) -> Json:
    types = {kind for operation in operations for kind in (operation.takes, operation.gives) if kind is not None}
    ordered = sorted(types | {ErrorBody}, key=lambda kind: kind.__name__)
    return dict(sorted(msgspec.json.schema_components(ordered, ref_template=_REFERENCE)[1].items()))


def _operation(method: str, path: str, operation: Operation) -> Json:
    document: Json = {
        "operationId": _identifier(method, path),
        "summary": operation.summary,
        "security": [{name: []} for name in _SECURITY] if operation.secured else [],
        "responses": {"200": _success(operation)}
        | {str(status): _error(status, foreign=operation.foreign) for status in _errors(path, operation)},
    }
    parameters = [_parameter("path", name, "Id of what is asked about.") for name in re.findall(r"\{(\w+)\}", path)]
    parameters += [_parameter("query", name, text) for name, text in operation.query.items()]
    parameters += [_parameter("header", name, text) for name, text in operation.headers.items()]
    if parameters:
        document["parameters"] = parameters
    if operation.takes is not None:
        document["requestBody"] = {"required": True, "content": {"application/json": _content(operation.takes)}}
    return document


def _identifier(method: str, path: str) -> str:
    words = re.findall(r"\w+", path.removeprefix("/v1"))
    return method.lower() + "".join(word.capitalize() for word in words)


def _parameter(where: str, name: str, text: str) -> Json:
    return {"name": name, "in": where, "required": where == "path", "description": text, "schema": {"type": "string"}}


def _success(operation: Operation) -> Json:
    content = {} if operation.gives is None else _content(operation.gives)
    return {
        "description": operation.summary,
        "headers": _headers(operation.tells),
        "content": {operation.media: content},
    }


def _errors(path: str, operation: Operation) -> list[int]:
    statuses = set(operation.may_be)
    if operation.secured:
        statuses |= {401, 403, 503}
    if operation.takes is not None:
        statuses |= {400, 413, 415}
    if operation.query:
        statuses.add(400)
    if "{" in path:
        statuses.add(404)
    return sorted(statuses)


def _error(status: int, *, foreign: bool) -> Json:
    names = sorted({name for _, known, name in STATUSES if known == status})
    told = (
        "In the shape of the provider's own errors."
        if foreign
        else f"`error` is {' or '.join(f'`{name}`' for name in names)}."
    )
    response: Json = {
        "description": f"{_MEANINGS[status]} {told}",
        "content": {"application/json": {} if foreign else _content(ErrorBody)},
    }
    if status == 503:
        response["headers"] = _headers({"retry-after": "Seconds."})
    return response


def _headers(texts: Mapping[str, str]) -> Json:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}


def _content(kind: type[msgspec.Struct]) -> Json:
    return {"schema": {"$ref": _REFERENCE.format(name=kind.__name__)}}
