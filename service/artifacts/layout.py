"""Where each file of a job is. Paths are relative, with "/", so that they are valid in every process and store."""

from __future__ import annotations

JOBS = "jobs"
LOGS = "logs"


def job_folder(job_id: str) -> str:
    """Return the folder of a job's files."""
    return f"{JOBS}/{job_id}"


def attempt_prefix(job_id: str, run_id: str, attempt: int) -> str:
    """Return how the paths of all files of attempts with this number begin."""
    return f"{job_folder(job_id)}/{run_id}-{attempt}-"


def attempt_folder(job_id: str, run_id: str, attempt: int, token: str) -> str:
    """Return the folder of the files of one attempt; no other attempt writes there.

    `token` is random: after a restore of an older database, an attempt has the number of one that left files.
    """
    return attempt_prefix(job_id, run_id, attempt) + token


def log_path(job_id: str, attempt: int) -> str:
    """Return the path of the log of an attempt at a job."""
    return f"{job_folder(job_id)}/{LOGS}/{attempt:06d}.log"


def is_log(path: str) -> bool:
    """Return whether a file is a log of an attempt: no row points to it."""
    return path.split("/")[2:3] == [LOGS] and path.endswith(".log")
