"""What import contracts cannot say (they stand in pyproject.toml): no torch in the API process, nothing unpickled."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "models").rglob("*.py"), *(ROOT / "service").rglob("*.py")])

WITHOUT_TORCH = [
    "models.spec",
    "models.errors",
    "models.init",
    "models.checkpoint",
    "models.inference.predictor",
    "models.inference.digit_fitting",
    "models.data.mnist",
    "models.results",
    "models.diagnostics.report",
    "models.diagnostics.preview",
    "models.evaluation.comparison",
    "models.recipes",
    "service.app",
    "service.processes.supervisor",
    "service.commands.demo",
    "service.commands.reproduce",
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


def test_nothing_is_unpickled() -> None:
    for path in FILES:
        assert not any(within(one, "pickle") or within(one, "cloudpickle") for one in imported(path))
        assert "torch.load(" not in path.read_text()


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_torch_is_not_imported_with(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
