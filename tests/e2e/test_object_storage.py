"""The real service with its checkpoints in object storage, over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from benchmarks.machines import memory_mib, wait_until
from benchmarks.object_storage import S3Server
from service.artifacts.bucket import Bucket
from tests.e2e.conftest import Service

API_MEMORY_MIB = 130 + 15
"""The client of object storage costs an API process 9 MiB."""
SMALL_DBN = {
    "architecture": {"hidden": [8], "activation": "sigmoid"},
    "init": {"scheme": "dbn", "rbm_epochs": 1},
    "data": "mnist_5k",
    "epochs": 2,
}


def test_a_job_lives_and_goes_in_object_storage(
    s3: S3Server, new_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = new_service(FANIN_ARTIFACTS_URL=s3.url, **s3.environment())
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    objects = Bucket(s3.url, 10, 10)
    with service:
        ready = service.client.get("/readyz").json()
        assert (ready["artifacts"], ready["disk_free_bytes"]) == ("ok", None)
        job = service.client.post("/jobs", json=SMALL_DBN, headers={"Prefer": "wait=60"}).json()
        assert job["state"] == "succeeded", job["error"]
        assert not (service.home / "artifacts").exists()
        kept = objects.list_below(f"jobs/{job['id']}")
        assert sum(path.endswith(".weights.safetensors") for path in kept) == 3, kept

        for model in ("latest", f"{job['id']}@0"):
            assert service.client.post(f"/predict?model={model}", content=bytes(784)).status_code == 200
        whole = service.client.get(f"/models/{job['id']}/weights")
        assert whole.headers["etag"].strip('"') == hashlib.sha256(whole.content).hexdigest()
        part = service.client.get(f"/models/{job['id']}/weights", headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, whole.content[100:200])
        assert service.client.get(f"/models/{job['id']}/distributions").status_code == 200
        assert service.client.get(f"/models/{job['id']}/samples?steps=10").status_code == 200
        assert "committed epoch 2" in service.client.get(f"/jobs/{job['id']}/logs").text
        assert memory_mib(service.children("api")[0]) < API_MEMORY_MIB

        service.client.delete(f"/jobs/{job['id']}").raise_for_status()
        wait_until(lambda: objects.list_below(f"jobs/{job['id']}") == [], what="the objects to be deleted")
    assert "not-a-secret" not in service.output()
