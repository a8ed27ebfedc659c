from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from service.api.openapi_examples import EXAMPLES
from service.app import ROUTERS, create_app
from service.settings import Settings

COMMITTED = Path(__file__).parents[3] / "openapi" / "openapi.json"
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
DESCRIBED = [route for route in ROUTES if route.include_in_schema and route.response_model is not None]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def test_the_committed_document_is_that_of_the_code(document: dict[str, Any]) -> None:
    written = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    assert COMMITTED.read_text() == written, "run `make openapi` and commit openapi/openapi.json"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references <= set(document["components"]["schemas"])


def test_every_operation_has_a_summary_a_description_an_example_and_its_errors(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["description"], path
            statuses = set(operation["responses"])
            assert {"401", "500"} <= statuses
            assert "404" in statuses or "{" not in path
            success = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
            if "application/json" in success.get("content", {}):
                assert success["content"]["application/json"]["example"]
            for status, answer in operation["responses"].items():
                if status >= "400" and status != "416":  # a Range outside of a file is no problem document
                    assert set(answer["content"]) == {"application/problem+json"}


def test_there_is_an_example_for_every_operation_and_none_besides() -> None:
    assert set(EXAMPLES) == {route.name for route in DESCRIBED}


@pytest.mark.parametrize("route", DESCRIBED, ids=lambda route: route.name)
def test_examples_are_valid_answers(route: APIRoute) -> None:
    TypeAdapter(route.response_model).validate_json(json.dumps(EXAMPLES[route.name]), strict=True)


def test_the_body_of_post_jobs_is_described_with_every_scheme(document: dict[str, Any]) -> None:
    from models.init import SCHEMES

    schema = document["components"]["schemas"]["TrainSpec"]["properties"]["init"]
    assert set(schema["discriminator"]["mapping"]) == set(SCHEMES)
    body = document["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert {option["$ref"].rpartition("/")[2] for option in body["schema"]["anyOf"]} == {"JobOfPreset", "JobOfSpec"}


def objects_in(part: Any) -> Iterator[dict[str, Any]]:
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from objects_in(value)
    if isinstance(part, dict):
        yield part


def test_the_property_that_selects_a_variant_is_required(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    selecting = [one["discriminator"] for one in objects_in(schemas) if isinstance(one.get("discriminator"), dict)]
    assert len(selecting) >= 2
    for discriminator in selecting:
        for reference in discriminator["mapping"].values():
            assert discriminator["propertyName"] in schemas[reference.rpartition("/")[2]]["required"]


def test_no_schema_has_a_const_or_a_default_that_is_an_object(document: dict[str, Any]) -> None:
    for schema in objects_in([document["components"]["schemas"], document["paths"]]):
        assert not isinstance(schema.get("const"), str | int)
        for field in schema.get("properties", {}).values() if isinstance(schema.get("properties"), dict) else ():
            assert not isinstance(field.get("default"), dict)


def test_parameters_of_paths_are_plain(document: dict[str, Any]) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                assert parameter["in"] != "path" or "anyOf" not in parameter["schema"]
