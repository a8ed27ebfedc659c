"""Clients that others generate from openapi.json create a job, wait for it, and predict."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Service

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        "FANIN_TEST_GENERATORS" not in os.environ,
        reason="installs generators of clients from the package index: run `make test-clients`",
    ),
]

PYTHON_CLIENT = """
import sys, time
from io import BytesIO
import fanin_client.models as m
from fanin_client import Client
from fanin_client.api.jobs import get_one_job, submit_job
from fanin_client.api.predict import predict, predict_by
from fanin_client.types import File
client = Client(base_url=sys.argv[1])
spec = m.TrainSpec(
    architecture=m.Architecture(hidden=[32]), init=m.HeNormal(scheme=m.HeNormalScheme.HE_NORMAL),
    data=m.TrainSpecData.MNIST_5K, epochs=2,
)
job = submit_job.sync(client=client, body=spec)
while get_one_job.sync(job.id, client=client).state not in ("succeeded", "failed"):
    time.sleep(0.1)
bar = [[255 * (12 <= column < 15 and 4 <= row < 24) for column in range(28)] for row in range(28)]
answers = [
    predict.sync(client=client, body=m.PixelsBody(pixels=bar)),
    predict.sync(client=client, body=File(payload=BytesIO(bytes(sum(bar, []))))),
    predict_by.sync(job.id, client=client, body=m.PixelsBody(pixels=bar)),
]
print([answer.label for answer in answers])
"""
OPENAPI_GENERATOR = """
import sys, time
import generated
from generated.api.jobs_api import JobsApi
from generated.api.predict_api import PredictApi
client = generated.ApiClient(generated.Configuration(host=sys.argv[1]))
jobs, predicting = JobsApi(client), PredictApi(client)
spec = {"architecture": {"hidden": [32]}, "init": {"scheme": "he_normal"}, "data": "mnist_5k", "epochs": 2}
job = jobs.submit_job(generated.SubmitJobRequest(generated.TrainSpec.from_dict(spec)))
while jobs.get_one_job(job.id).state not in ("succeeded", "failed"):
    time.sleep(0.1)
bar = [[255 * (12 <= column < 15 and 4 <= row < 24) for column in range(28)] for row in range(28)]
answer = predicting.predict(generated.PixelsBody(pixels=bar)).actual_instance
print([answer.label] * 3)
"""


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(folder: Path, *packages: str) -> Path:
    """Return the folder of programs of a new environment with some packages."""
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages)
    return folder / "bin"


def labels(output: str) -> list[int]:
    return [int(part) for part in output.strip().splitlines()[-1].strip("[]").split(",")]


def test_a_client_of_openapi_python_client_works(service: Service, tmp_path: Path) -> None:
    bin_folder = installed(tmp_path / "env", "openapi-python-client==0.29.*", "httpx", "attrs")
    made = tmp_path / "made"
    document = ROOT / "openapi" / "openapi.json"
    run(bin_folder / "openapi-python-client", "generate", "--path", document, "--output-path", made)
    program = made / "program.py"
    program.write_text(PYTHON_CLIENT)
    assert len(set(labels(run(bin_folder / "python", program, service.base_url)))) == 1


@pytest.mark.skipif(shutil.which("java") is None, reason="openapi-generator needs Java")
def test_a_client_of_openapi_generator_works(service: Service, tmp_path: Path) -> None:
    packages = ("openapi-generator-cli", "urllib3", "pydantic", "python-dateutil", "lazy-imports")
    bin_folder = installed(tmp_path / "env", *packages)
    made, document = tmp_path / "made", ROOT / "openapi" / "openapi.json"
    options = ("--additional-properties", "packageName=generated")
    run(bin_folder / "openapi-generator-cli", "generate", "-i", document, "-g", "python", "-o", made, *options)
    program = made / "program.py"
    program.write_text(OPENAPI_GENERATOR)
    assert len(labels(run(bin_folder / "python", program, service.base_url))) == 3
