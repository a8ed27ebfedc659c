from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.__main__ import main
from models.checkpoint import decode

SMALL = {"architecture": {"hidden": [8]}, "epochs": 1, "data": "mnist_5k"}
DIVERGING = {
    "architecture": {"hidden": [64, 64, 64], "activation": "identity"},
    "optimizer": {"name": "sgd", "lr": 10.0},
    "init": {"scheme": "xavier_uniform", "gain": 10},
}


def test_train_prints_metrics_evaluation_and_hash_and_writes_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(SMALL))
    assert (
        main(["train", str(tmp_path / "spec.json"), "--out", str(tmp_path / "w.safetensors"), "--device", "cpu"]) == 0
    )
    data, *lines = capsys.readouterr().out.splitlines()
    assert data.startswith("mnist_5k")
    metrics, evaluation, digest = map(json.loads, lines)
    assert metrics["epoch"] == 1
    assert evaluation["evaluated_on"] == "mnist_5k_held_out"
    checkpoint = decode((tmp_path / "w.safetensors").read_bytes())
    assert checkpoint.metadata.weights_sha256 == digest["weights_sha256"]
    assert checkpoint.metadata.final


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        ('{"epochs": -1}', 2, "epochs: Input should be greater than or equal to 0"),
        ("{", 1, "Expecting property name"),
        (
            json.dumps(SMALL | DIVERGING),
            1,
            "The loss became",
        ),
    ],
)
def test_what_cannot_be_trained_ends_with_one_clear_line(
    content: str, status: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.json").write_text(content)
    assert main(["train", str(tmp_path / "spec.json"), "--device", "cpu"]) == status
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1


def test_fetch_checks_what_is_there(mnist_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "--data-dir", str(mnist_folder)]) == 0
    assert "Checksums are right" in capsys.readouterr().out
