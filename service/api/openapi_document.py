"""The OpenAPI document: with the models of request bodies, examples, the security scheme, and as generators read it.

Generators of clients read less than the standard has. They know no default that is an object, no `const` beside a
number, and take a discriminator that a schema does not require for an optional one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.openapi_examples import EXAMPLES

UNUSED = ("HTTPValidationError", "ValidationError")


def document_of(app: FastAPI, body_models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """Return the document of an application; `body_models` are those of the bodies that it reads itself."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        license_info=app.license_info,
        routes=app.routes,
    )
    _, definitions = models_json_schema(
        [(model, "validation") for model in body_models],
        ref_template="#/components/schemas/{model}",
    )
    schemas = document["components"]["schemas"]
    for name, schema in definitions["$defs"].items():
        schemas.setdefault(name, schema)
    for unused in UNUSED:
        schemas.pop(unused, None)
    for schema in list(_schemas_in(document)):
        _make_plain(schema)
        _require_discriminator(schema, schemas)
    _add_examples(document)
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}, {}]
    return document


def _schemas_in(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the document, from the inside; examples are not added yet."""
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _schemas_in(value)
    if isinstance(part, dict):
        yield part


def _make_plain(schema: dict[str, Any]) -> None:
    """Write `const` as an enumeration of one, and a default that is an object in words."""
    if "const" in schema and isinstance(schema["const"], str | int | float):
        schema["enum"] = [schema.pop("const")]
    default = schema.get("default")
    if isinstance(default, dict) and ("$ref" in schema or "oneOf" in schema or "anyOf" in schema or "type" in schema):
        del schema["default"]
        schema["description"] = f"{schema.get('description', '')} Default: {json.dumps(default)}".strip()


def _require_discriminator(schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Make the property that selects a variant required in the variants, as it is."""
    discriminator = schema.get("discriminator")
    if not isinstance(discriminator, dict):
        return
    name = discriminator["propertyName"]
    for reference in discriminator["mapping"].values():
        variant = schemas[reference.rpartition("/")[2]]
        variant["required"] = sorted({*variant.get("required", []), name})
        variant["properties"][name].pop("default", None)


def _add_examples(document: dict[str, Any]) -> None:
    """Add the example of each operation to its successful JSON response."""
    for operations in document["paths"].values():
        for operation in operations.values():
            success = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
            in_json = success.get("content", {}).get("application/json")
            if in_json is not None:
                in_json["example"] = EXAMPLES[operation["operationId"]]
