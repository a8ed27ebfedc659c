"""What the client's programs write: the answers from openapi.json, and the synchronous client from the other."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"
OPENAPI: dict[str, Any] = json.loads((ROOT / "openapi" / "openapi.json").read_text())
METHODS = ("get", "post", "put", "patch", "delete")


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CLIENT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_answers_are_those_of_the_openapi_document() -> None:
    assert (CLIENT / "fanin" / "answers.py").read_text() == program("make_answers").written(OPENAPI)


def test_the_synchronous_client_is_made_from_the_asynchronous_one() -> None:
    written = program("make_sync").written()
    folder = CLIENT / "fanin" / "_sync"
    assert {path.name for path in folder.glob("*.py")} == set(written)
    for name, text in written.items():
        assert (folder / name).read_text() == text, name
        assert not re.search(r"\bawait\b|\basync\b|anyio", text), name


def test_every_operation_of_the_service_has_a_method() -> None:
    text = "\n".join(path.read_text() for path in (CLIENT / "fanin" / "_async").glob("*.py"))
    calls = re.findall(r'\.(?:request|answer)\(\s*"([A-Z]+)",\s*"([^"]+)"', text)
    called = {(method.lower(), path) for method, path in calls}
    called |= {("get", path) for path in re.findall(r'Place\(\s*"([^"]+)"', text)}
    called |= {("get", path) for path in re.findall(r'streams\.events\([^,]+, "([^"]+)"', text)}
    called |= {("get", path) for path in re.findall(r'self\._get\("([^"]+)"', text)}
    there = {(method, path) for path, operations in OPENAPI["paths"].items() for method in operations}
    assert there - called == set(), "operations without a method"
    assert called - there == set(), "methods without an operation"


def test_a_job_is_created_from_every_field_of_a_spec_and_an_experiment_from_all_of_its_own() -> None:
    from inspect import signature

    from fanin import AsyncClient, Client

    schemas = OPENAPI["components"]["schemas"]
    for kind in (Client, AsyncClient):
        client = kind()
        creating = {name: set(signature(getattr(client, name).create).parameters) for name in ("jobs", "experiments")}
        assert set(schemas["JobOfPreset"]["properties"]) - creating["jobs"] == {"spec_version"}
        own = {**schemas["ExperimentBody"]["properties"], **schemas["RecipeBody"]["properties"]}
        assert creating["experiments"] == {*own, "idempotency_key"}
        assert set(schemas["PreviewBody"]["properties"]) | {"name"} == set(signature(client.schemes.preview).parameters)
        assert set(schemas["PhaseRequest"]["properties"]) == set(signature(client.schemes.phase_diagram).parameters)


@pytest.mark.parametrize(
    ("path", "part", "method"),
    [
        ("/jobs", "jobs", "list"),
        ("/experiments", "experiments", "list"),
        ("/models", "models", "list"),
        ("/models/{model_id}/mistakes", "models", "mistakes"),
        ("/models/{model_id}/samples", "models", "samples"),
        ("/models/{model_id}/likelihood", "models", "likelihood"),
        ("/aliases", "aliases", "list"),
    ],
)
def test_a_method_has_every_parameter_of_its_operation(path: str, part: str, method: str) -> None:
    from inspect import signature

    from fanin import Client

    asked = {one["name"] for one in OPENAPI["paths"][path]["get"]["parameters"]} - {"after"}
    assert set(signature(getattr(getattr(Client(), part), method)).parameters) == asked


LOADED = "import sys, fanin; print(*sorted(name for name in sys.modules if '.' not in name))"


def test_the_client_loads_nothing_but_httpx() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "torch", "pandas", "PIL", "IPython", "service", "models", "pydantic", "fastapi"}
    assert heavy & set(loaded) == set()
    assert {"fanin", "httpx"} <= set(loaded)


def test_the_distribution_needs_httpx_alone_and_its_types_are_marked() -> None:
    import tomllib

    described = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    assert [re.split("[>=<]", one)[0] for one in described["dependencies"]] == ["httpx"]
    assert (CLIENT / "fanin" / "py.typed").exists()
