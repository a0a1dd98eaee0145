"""The OpenAPI 3.1 document, made from the table of operations."""

from __future__ import annotations

import re
from typing import Any

from jupyter_fx import __version__
from jupyter_fx_hub.operations import OPERATIONS, Operation

__all__ = ["document"]

_TYPES = {str: "string", int: "integer", bool: "boolean", float: "number", list: "array", dict: "object"}


def document() -> dict[str, Any]:
    """The document as an object."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS.values():
        if operation.path:
            paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    paths["/health"] = {
        "get": _open("Whether the hub takes work", {"200": "it does", "503": "it does not; `why` says why"})
    }
    paths["/metrics"] = {"get": {**_open("Metrics for Prometheus", {"200": "text"}), "security": [{"token": []}]}}
    paths["/api/v1/openapi.json"] = {"get": _open("This document", {"200": "it"})}
    paths["/api/v1/link"] = {
        "get": {**_open("The WebSocket of clients and agents", {"101": "the link"}), "security": [{"token": []}]}
    }
    error = {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "etype": {"type": "string"},
                    "message": {"type": "string"},
                    "details": {"type": "object"},
                },
                "required": ["etype", "message", "details"],
            }
        },
        "required": ["error"],
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "fx hub", "version": __version__, "summary": "Tasks, endpoints and sessions of jupyter-fx"},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}, "schemas": {"Error": error}},
    }


def _open(summary: str, responses: dict[str, str]) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {status: {"description": text} for status, text in responses.items()},
        "security": [],
    }


def _describe(operation: Operation) -> dict[str, Any]:
    in_path = re.findall(r"\{(\w+)\}", operation.path)
    inside = {f"{name}s" for name in in_path} | set(in_path)
    rest = {name: arg for name, arg in operation.args.items() if name not in inside}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in in_path
    ]
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.about,
        "security": [{"token": []}],
        "responses": {"200": {"description": "the value", "content": {"application/json": {}}}},
    }
    if operation.scope:
        found["description"] = f"Needs a token with the scope `{operation.scope}`."
    for status, text in {
        "400": "not possible as asked",
        "401": "no or a wrong token",
        "403": "not allowed",
        "404": "not there",
    }.items():
        schema = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        found["responses"][status] = {"description": text, "content": schema}
    if operation.method == "POST":
        properties = {name: {"type": _TYPES[arg.type], "description": arg.about} for name, arg in rest.items()}
        needed = [name for name, arg in rest.items() if arg.needed]
        wanted = {"type": "object", "properties": properties, **({"required": needed} if needed else {})}
        if rest:
            found["requestBody"] = {"required": bool(needed), "content": {"application/json": {"schema": wanted}}}
    else:
        parameters += [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": arg.about,
                "schema": {"type": _TYPES[arg.type]},
            }
            for name, arg in rest.items()
        ]
    if parameters:
        found["parameters"] = parameters
    return found
