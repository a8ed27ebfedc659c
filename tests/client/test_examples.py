"""The notebooks in `examples`, executed cell by cell against a real service."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import SMALL_DATA
from tests.e2e.conftest import Service, long

pytestmark = pytest.mark.e2e
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("examples")
    with Service(folder, SMALL_DATA) as service:
        yield service


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[long] if path.stem == "mnist_nn_deep" else [])
        for path in sorted(EXAMPLES.glob("*.ipynb"))
    ],
)
def test_a_notebook_runs_from_its_first_cell_to_its_last(
    path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANIN_URL", service.base_url)
    names: dict[str, Any] = {}
    shown: list[str] = []
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [], "notebooks are kept without outputs, which would be of another day"
        last = executed("".join(cell["source"]), names)
        if hasattr(last, "_repr_html_"):
            shown.append(last._repr_html_())
    job = names["job"]
    assert (job.state, len(job.metrics)) == ("succeeded", 15)
    assert job.accuracy > 0.85
    assert len(shown) >= 2
    groups = {row["group"]: row["accuracy"] for row in names["experiment"].comparison().to_rows()}
    assert set(groups) == {"zeros", "torch_default", "xavier_uniform", "he_normal"}
    assert groups["zeros"] < 0.2
    names["fanin"].close()


def executed(code: str, names: dict[str, Any]) -> Any:
    """Execute a cell as a notebook does, and return the value of its last line if that is an expression."""
    tree = ast.parse(code)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        exec(compile(tree, "<cell>", "exec"), names)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
