"""Object storage over HTTP: a real S3 server, and before it a proxy that makes requests fail."""

from __future__ import annotations

import hashlib
import logging
import math
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.machines import wait_until
from benchmarks.object_storage import Fault, FaultyProxy, S3Server
from models.errors import CheckpointDamaged
from service.artifacts.bucket import PIECE_BYTES, Bucket
from service.commands.local_service import free_port
from service.errors import Unavailable, WrongSettings
from service.store.checkpoints import list_checkpoints
from tests.service.conftest import SMALL, Bench, undisturbed

REQUEST_S = 1


class Troubles:
    """The faults of the next requests, in their order; then none."""

    def __init__(self) -> None:
        self.next: list[tuple[str, Fault | None]] = []

    def choose(self, method: str, _path: str) -> Fault | None:
        for number, (wanted, fault) in enumerate(self.next):
            if wanted == method:
                del self.next[number]
                return fault
        return None


@pytest.fixture
def troubles() -> Troubles:
    return Troubles()


@pytest.fixture
def proxy(s3: S3Server, troubles: Troubles) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(s3.port, troubles.choose)
    yield proxy
    proxy.close()


@pytest.fixture
def bucket(s3: S3Server, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    for name, value in s3.environment(proxy.endpoint).items():
        monkeypatch.setenv(name, value)
    return Bucket(f"s3://fanin/{tmp_path.name}", REQUEST_S, 30.0)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_objects_are_written_read_listed_and_deleted_as_files_are(bucket: Bucket) -> None:
    contents = {"jobs/a/1-1-x/000001.weights": b"first", "jobs/a/logs/1.log": b"", "jobs/b/2-1-y/000001.weights": b"x"}
    digests = bucket.write_all(contents)
    assert digests == {path: sha256(content) for path, content in contents.items()}
    assert bucket.list_below("jobs") == sorted(contents)
    assert bucket.list_folders("jobs") == ["a", "b"]
    assert bucket.read("jobs/a/1-1-x/000001.weights", sha256(b"first")) == b"first"
    bucket.delete_below("jobs/a")
    bucket.delete("jobs/nothing")
    assert bucket.list_below("jobs") == ["jobs/b/2-1-y/000001.weights"]


def test_a_log_may_be_written_again(bucket: Bucket) -> None:
    assert bucket.read_log("jobs/a/logs/1.log") is None
    bucket.replace("jobs/a/logs/1.log", b"one line")
    bucket.replace("jobs/a/logs/1.log", b"two lines")
    found = bucket.read_log("jobs/a/logs/1.log")
    assert found is not None
    assert found.content == b"two lines"
    assert bucket.read_log("jobs/a/logs/1.log", found.state) == (None, found.state)
    bucket.replace("jobs/a/logs/1.log", b"three")
    again = bucket.read_log("jobs/a/logs/1.log", found.state)
    assert again is not None
    assert again.content == b"three"


def test_an_object_is_never_overwritten(bucket: Bucket) -> None:
    bucket.write("x", b"first")
    with pytest.raises(FileExistsError):
        bucket.write("x", b"second")
    with pytest.raises(FileExistsError):
        bucket.write("x", b"first")
    assert bucket.read("x", sha256(b"first")) == b"first"


@pytest.mark.parametrize("fault", ["error", "hang", "lost"])
def test_a_new_object_is_written_once_whatever_goes_wrong(
    bucket: Bucket, troubles: Troubles, proxy: FaultyProxy, fault: Fault
) -> None:
    troubles.next = [("PUT", fault), ("PUT", fault)]
    assert bucket.write("x", b"content") == sha256(b"content")
    assert [fault for method, _, fault in proxy.requests if method == "PUT"] == [fault, fault, None]
    assert bucket.read("x", sha256(b"content")) == b"content"
    with pytest.raises(FileExistsError):
        bucket.write("x", b"content")


def test_an_object_of_another_writer_is_not_taken_for_the_own_one(bucket: Bucket, troubles: Troubles) -> None:
    bucket.write("x", b"of another")
    troubles.next = [("PUT", "error")]
    with pytest.raises(FileExistsError):
        bucket.write("x", b"own")


@pytest.mark.parametrize("fault", ["error", "hang", "cut", "lost"])
def test_an_object_is_read_whole_whatever_goes_wrong(
    bucket: Bucket, troubles: Troubles, proxy: FaultyProxy, fault: Fault
) -> None:
    content = bytes(range(256)) * (PIECE_BYTES // 256) + b"a second piece"
    digest = bucket.write("x", content)
    proxy.requests.clear()
    troubles.next = [("GET", None), ("GET", fault)]
    assert bucket.read("x", digest) == content
    assert len(proxy.requests) == 3, "what failed was asked again, and nothing else"
    troubles.next = [("HEAD", "error"), ("GET", fault)]
    stored = bucket.stored("x", digest)
    assert (stored.size_bytes, stored.sha256) == (len(content), digest)
    assert b"".join(stored.read(PIECE_BYTES - 3, PIECE_BYTES + 3)) == content[PIECE_BYTES - 3 : PIECE_BYTES + 3]


def test_a_part_of_an_object_that_was_compared_once_costs_one_request(bucket: Bucket, proxy: FaultyProxy) -> None:
    digest = bucket.write("x", b"0123456789")
    bucket.stored("x", digest)
    proxy.requests.clear()
    assert b"".join(bucket.stored("x", digest).read(2, 5)) == b"234"
    assert [method for method, _, _ in proxy.requests] == ["HEAD", "GET"]


def test_damage_and_absence_are_seen(bucket: Bucket) -> None:
    digest = bucket.write("x", b"content")
    bucket.stored("x", digest)
    bucket.replace("x", b"Content")
    for look in (lambda: bucket.read("x", digest), lambda: bucket.stored("x", digest)):
        with pytest.raises(CheckpointDamaged, match="damaged"):
            look()
    with pytest.raises(CheckpointDamaged, match="damaged"), bucket.local_copy("x", digest):
        pass
    bucket.delete("x")
    for look in (lambda: bucket.read("x", digest), lambda: bucket.stored("x", digest)):
        with pytest.raises(CheckpointDamaged, match="is missing"):
            look()


def test_a_local_copy_has_the_content_and_is_gone_afterwards(bucket: Bucket) -> None:
    with bucket.local_copy("x", bucket.write("x", b"content")) as path:
        assert path.read_bytes() == b"content"
    assert not path.exists()


def test_a_storage_that_stays_away_is_told_within_the_patience(
    troubles: Troubles, bucket: Bucket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = Bucket(bucket.where, REQUEST_S, 0.5)
    troubles.next = [("GET", "error")] * 20
    with caplog.at_level(logging.WARNING), pytest.raises(Unavailable, match="does not answer"):
        hasty.read("x", "")
    assert "not-a-secret" not in caplog.text
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    hasty = Bucket(bucket.where, REQUEST_S, 0.5)
    with pytest.raises(Unavailable, match="does not answer"):
        hasty.check()


def test_a_conflict_with_no_object_is_tried_again(bucket: Bucket, troubles: Troubles) -> None:
    troubles.next = [("PUT", "conflict"), ("PUT", "conflict")]
    assert bucket.write("x", b"content") == sha256(b"content")
    assert bucket.read("x", sha256(b"content")) == b"content"


def test_an_object_without_a_byte_is_damaged_and_not_waited_for(bucket: Bucket) -> None:
    endless = Bucket(bucket.where, REQUEST_S, math.inf)
    endless.replace("x", b"")
    for look in (lambda: endless.read("x", sha256(b"content")), lambda: endless.stored("x", sha256(b"content"))):
        with pytest.raises(CheckpointDamaged, match="shorter"):
            look()


@pytest.mark.parametrize("fault", ["refused", "expired"])
def test_refused_credentials_are_told_at_once(bucket: Bucket, troubles: Troubles, fault: Fault) -> None:
    endless = Bucket(bucket.where, REQUEST_S, math.inf)
    for method, use in (("PUT", lambda: endless.write("x", b"")), ("GET", lambda: endless.read("x", ""))):
        troubles.next = [(method, fault)]
        with pytest.raises(Unavailable, match="refuses this service"):
            use()


def test_a_store_that_may_not_list_is_told_by_its_check(bucket: Bucket, troubles: Troubles) -> None:
    troubles.next = [("GET", "refused")]  # what S3 answers for a key that is not there
    with pytest.raises(Unavailable, match="refuses this service"):
        bucket.check()
    troubles.next = [("PUT", "refused")]
    assert bucket.check() == (False, None)


def test_while_a_storage_hangs_one_request_at_a_time_finds_it_out(
    bucket: Bucket, troubles: Troubles, proxy: FaultyProxy
) -> None:
    hasty = Bucket(bucket.where, REQUEST_S, 0.5)
    troubles.next = [("GET", "hang")] * 50
    for _ in range(20):
        with pytest.raises(Unavailable, match="does not answer"):
            hasty.read("x", "")
    assert len(proxy.requests) <= 2, "the others were refused without a request"
    troubles.next.clear()
    wait_until(lambda: _is_back(hasty), 10, "a request after the pause")
    troubles.next = [("GET", "hang")]
    with pytest.raises(Unavailable):
        hasty.read("x", "")
    wait_until(lambda: "is missing" in _failure(hasty), 10, "the answer that there is no such file")
    assert "is missing" in _failure(hasty), "a storage that says so is not away"


def _failure(bucket: Bucket) -> str:
    with pytest.raises((Unavailable, CheckpointDamaged)) as caught:
        bucket.read("x", "")
    return str(caught.value)


def _is_back(bucket: Bucket) -> bool:
    try:
        bucket.check()
    except Unavailable:
        return False
    return True


def test_a_wait_for_the_storage_is_told(bucket: Bucket, troubles: Troubles) -> None:
    troubles.next = [("PUT", "error")] * 3
    assert not bucket.is_waiting
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(bucket.write, "x", b"content")
        wait_until(lambda: bucket.is_waiting, 10, "the first failure")
        written.result()
    assert not bucket.is_waiting


def test_a_wrong_configuration_is_told_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", '"a secret of a test"')
    for url, says in (("gs://bucket", "GOOGLE_APPLICATION_CREDENTIALS"), ("az://container", "AZURE_STORAGE_ACCOUNT")):
        with pytest.raises(WrongSettings, match=says) as caught:
            Bucket(url, REQUEST_S, 1.0)
        assert "a secret" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_bucket_is_told_at_once(bucket: Bucket) -> None:
    other = Bucket("s3://nobody-made-this", REQUEST_S, 3600.0)
    uses = (other.check, lambda: other.read("x", ""), lambda: other.stored("x", ""), lambda: other.write("x", b""))
    for use in uses:
        with pytest.raises(Unavailable, match=r"bucket .* does not exist"):
            use()


def test_the_store_tells_whether_it_can_be_written(bucket: Bucket) -> None:
    assert bucket.check() == (True, None)


def test_a_job_is_trained_on_object_storage_that_fails_again_and_again(
    bench: Bench, bucket: Bucket, troubles: Troubles
) -> None:
    bench.artifacts = bucket
    troubles.next = [("PUT", fault) for fault in ("error", "lost", "cut", "error", "lost")]
    job_id = bench.trained(SMALL)
    rows = list_checkpoints(bench.engine, job_id)
    assert [row.epoch for row in rows] == [0, 1, 2]
    assert rows[-1].weights_sha256 == undisturbed(bench.data)
    for row in rows:
        assert bucket.read(row.weights_path, row.weights_file_sha256)
