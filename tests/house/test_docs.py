"""What the documents promise is so: settings, commands, operations, links, and the numbers that a command printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from models.init import SCHEMES
from service.inference.model_resolver import NETWORK_TRUST_S
from service.settings import Settings
from service.store.engine import open_engine
from service.store.migration import migrate

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text()
REFERENCE = ROOT / "docs" / "reference"


def test_every_setting_is_documented_with_its_default() -> None:
    text = (REFERENCE / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        row = re.search(rf"^\| `FANIN_{name.upper()}` \| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)
        assert row is not None, f"FANIN_{name.upper()}"
        if isinstance(field.default, str | int | Path) and not isinstance(field.default, bool):
            assert str(field.default) in row[1], name


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        for target in re.findall(r"`make ([a-z-]+)", document.read_text()):
            assert target in targets, f"{document.name}: make {target}"
    assert "make demo" in README


def test_every_test_that_is_named_exists() -> None:
    for document in DOCUMENTS:
        for name in re.findall(r"`(tests/[\w/.]+)`", document.read_text()):
            assert (ROOT / name).exists(), f"{document.name}: {name}"


def test_every_operation_that_is_named_exists() -> None:
    paths = json.loads((ROOT / "openapi" / "openapi.json").read_text())["paths"]
    known = {
        (method.upper(), re.sub(r"\{[^}]+\}", "*", path)) for path, operations in paths.items() for method in operations
    }
    for document in DOCUMENTS:
        for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^\s`?]*)", document.read_text()):
            assert (method, re.sub(r"\{[^}]+\}", "*", path)) in known, f"{document.name}: {method} {path}"


def test_every_relative_link_leads_to_a_file() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_is_in_the_table_of_schemes(name: str) -> None:
    assert f"| `{name}` |" in (REFERENCE / "schemes.md").read_text()


def test_the_version_is_the_newest_in_the_change_log() -> None:
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (?:\[)?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


def test_the_numbers_of_the_readme_are_those_that_were_measured() -> None:
    measured = {
        name: json.loads((ROOT / "docs/measurements" / f"{name}.json").read_text()) for name in ("acceptance", "train")
    }
    acceptance, kernel = measured["acceptance"], measured["train"]["epochs"]["mnist_nn_xavier, 1 thread"]["kernel"]
    assert f"mean test accuracy {acceptance['mean_test_accuracy']:.4f}".replace(" 0.", " .") in README
    assert f"mean training loss of the first epoch {acceptance['mean_epoch_1_loss']:.3f}".replace(" 0.", " .") in README
    assert f"from zeros: exactly {acceptance['zeros_test_accuracy']:.4f}".replace(" 0.", " .") in README
    assert acceptance["same_bits"]
    said = f"takes {kernel['epoch_s']:.2f} s on one core: {kernel['over_jax']:.2f} of JAX's, "
    assert f"{said}1/{1 / kernel['over_notebook']:.1f} of the notebook's loop" in README


def test_the_times_for_which_names_may_be_old_are_those_of_the_code() -> None:
    said = f"on PostgreSQL another API process may take {NETWORK_TRUST_S * 1000:.0f} ms to notice."
    assert said in (REFERENCE / "http-rules.md").read_text()


def test_measured_numbers_stand_in_the_file_that_a_command_wrote() -> None:
    """Every bold number in a table is in the JSON file that is named last before it."""
    text = (ROOT / "docs" / "performance.md").read_text()
    parts = re.split(r"(?=\]\([\w./-]+\.json\))", text)[1:]
    checked = 0
    for section in parts:
        source = re.match(r"\]\(([\w./-]+\.json)\)", section)
        assert source is not None
        numbers = json.dumps(json.loads((ROOT / "docs" / source[1]).read_text()))
        found = {f"{float(number):.6g}" for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", numbers)}
        for row in re.findall(r"^\|(.*)\|$", section, re.MULTILINE):
            for cell in re.findall(r"\*\*([\d.]+)\*\*", row):
                digits = len(cell.partition(".")[2])
                assert any(f"{float(one):.{digits}f}" == cell for one in found), f"{cell} is not in {source[1]}"
                checked += 1
    assert checked > 5


def test_the_queries_for_autoscalers_are_answered_by_the_tables(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "how-to" / "run-on-many-machines.md").read_text()
    queries = [*re.findall(r"```sql\n(.*?)```", text, re.DOTALL), *re.findall(r'query: "(.*?)"', text)]
    assert len(queries) == 2
    engine = open_engine(f"sqlite:///{tmp_path}/fanin.sqlite")
    migrate(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(queries[0].strip().removesuffix(";")).all() == []
        assert connection.exec_driver_sql(queries[1]).scalar_one() == 0
    engine.dispose()
