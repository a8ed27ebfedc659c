"""The walk-through of docs/how-to/add-a-scheme.md, done as it says: one new file, and everything else follows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from models.init import markdown_table

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "how-to" / "add-a-scheme.md").read_text()
TABLE = (ROOT / "docs" / "reference" / "schemes.md").read_text()

QUESTIONS = """
import json
from models.init import SCHEMES, markdown_table
from models.spec import TrainSpec
from service.api.routes.schemes import get_scheme
from service.app import create_app
from service.settings import Settings

schema = create_app(Settings()).openapi()["components"]["schemas"]["TrainSpec"]["properties"]["init"]
print(json.dumps({
    "accepted": TrainSpec.model_validate({"init": {"scheme": "he_halved"}}).init.scheme,
    "view": get_scheme("he_halved").title,
    "openapi": "he_halved" in schema["discriminator"]["mapping"],
    "table": "`he_halved`" in markdown_table(),
}))
"""


def test_one_new_file_adds_a_scheme_everywhere(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    (name,) = re.findall(r"for example `(models/init/\w+\.py)`", GUIDE)
    for folder in ("models", "service", "tests", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "e2e"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / name).write_text(code)

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    answers = json.loads(python("-c", QUESTIONS))
    assert answers == {"accepted": "he_halved", "view": "He, halved", "openapi": True, "table": True}
    tests = "tests/models/test_init.py"
    properties = "he_halved and (fills_every_parameter or what_a_scheme_says)"
    assert "2 passed" in python("-m", "pytest", "-q", "-p", "no:cacheprovider", tests, "-k", properties)
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"init": {"scheme": "he_halved"}, "epochs": 1, "data": "mnist_5k"}))
    assert '"accuracy"' in python("-m", "models", "train", str(spec))


def test_the_table_is_that_of_the_code() -> None:
    between = TABLE.partition("<!-- schemes -->\n")[2].partition("\n<!-- /schemes -->")[0]
    assert between == markdown_table(), "run `make schemes` and commit docs/reference/schemes.md"
