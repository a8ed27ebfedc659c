"""The arrows of the house: who may import whom, lazy imports included, and what stays out of the API process."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "models").rglob("*.py"), *(ROOT / "service").rglob("*.py")])

COMPOSITION = {"service.app", "service.__main__"}
"""Where parts are put together; these may import everything."""

MAY_NOT_IMPORT = {
    "models": ["service", "sqlalchemy", "fastapi", "starlette", "dbos", "httpx", "pydantic_settings"],
    "service.store": [
        "service.api",
        "service.worker",
        "service.attempt",
        "service.queue",
        "service.artifacts",
        "fastapi",
    ],
    "service.api": ["service.worker", "service.attempt", "service.supervisor", "service.app", "sqlalchemy.orm", "dbos"],
    "service.worker": ["service.api", "service.app", "service.supervisor", "fastapi", "dbos"],
    "service.heartbeat": ["service.api", "service.attempt", "service.worker", "service.artifacts", "dbos"],
    "service.sweep": ["service.api", "service.attempt", "service.worker", "service.queue"],
    "service.doctor": ["service.api", "service.attempt", "service.worker", "service.queue", "dbos"],
    "service.watch": ["service.api", "service.attempt", "service.worker", "service.queue"],
    "service.attempt": ["service.api", "service.app", "service.worker", "fastapi", "dbos"],
    "service.committing": ["service.api", "service.app", "service.worker", "service.attempt", "fastapi", "dbos"],
    "service.pretraining": ["service.api", "service.app", "service.worker", "service.attempt", "fastapi", "dbos"],
    "service.surroundings": ["service.api", "service.app", "service.worker", "service.attempt", "fastapi", "dbos"],
    "service.supervisor": ["service.api", "service.worker", "service.store", "models"],
    "service.queue": ["service.api", "service.worker", "fastapi"],
    "service.artifacts": ["service.api", "service.store", "service.queue"],
    "service.previews": ["service.api", "service.store", "service.worker", "service.queue"],
    "service.predictors": ["service.api", "service.worker", "service.queue"],
    "service.local_service": ["service.api", "service.store", "service.worker", "service.queue", "service.app"],
    "service.reproduce": [
        "service.api",
        "service.store",
        "service.worker",
        "service.queue",
        "service.app",
        "sqlalchemy",
        "models.recipes",
    ],
    "service.demo": ["service.api", "service.store", "service.worker", "service.queue", "service.app", "sqlalchemy"],
}

WITHOUT_TORCH = [
    "models.spec",
    "models.errors",
    "models.init",
    "models.checkpoint",
    "models.predict",
    "models.digits",
    "models.data",
    "models.results",
    "models.diagnosis",
    "models.preview",
    "models.comparison",
    "models.recipes",
    "service.app",
    "service.supervisor",
    "service.demo",
    "service.reproduce",
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, anywhere in it, but for type checking only."""
    found: set[str] = set()

    class Visitor(ast.NodeVisitor):
        def visit_If(self, node: ast.If) -> None:
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                return
            self.generic_visit(node)

        def visit_Import(self, node: ast.Import) -> None:
            found.update(alias.name for alias in node.names)

        def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)

    Visitor().visit(ast.parse(path.read_text()))
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_file_imports_against_the_arrows(path: Path) -> None:
    name = module_name(path)
    if name in COMPOSITION:
        return
    for package, forbidden in MAY_NOT_IMPORT.items():
        if within(name, package):
            wrong = [one for one in imported(path) for other in forbidden if within(one, other)]
            assert wrong == []


def test_the_rules_speak_of_packages_that_exist() -> None:
    names = {module_name(path) for path in FILES}
    assert set(MAY_NOT_IMPORT) <= names


def test_only_the_queue_names_the_queue_engine() -> None:
    naming = {module_name(path) for path in FILES if any(within(one, "dbos") for one in imported(path))}
    assert naming == {"service.queue"}


def test_nothing_is_unpickled() -> None:
    for path in FILES:
        assert not any(within(one, "pickle") or within(one, "cloudpickle") for one in imported(path))
        assert "torch.load(" not in path.read_text()


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_torch_is_not_imported_with(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
