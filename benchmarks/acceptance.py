"""The service's main claims, measured through the API on the full MNIST, each with its bound."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

import httpx

from benchmarks.clients import finished_job, seconds_between, warm_service
from benchmarks.report import print_table, write_json

SEEDS = (777, 0, 1)
IDLE_SUBMISSIONS = 15


class Claim(NamedTuple):
    """One claim: what is measured, its bound, the measured value, and whether the value is within the bound."""

    what: str
    bar: str
    measured: str
    holds: bool


def main() -> None:
    """Measure, print the table, write JSON; exit with status 1 if a claim does not hold."""
    with warm_service() as client:
        recipe = _recipe(client)
        repeat = _weights(client, finished_job(client, {"preset": "mnist_nn_xavier"}))
        zeros = _zeros(client)
        starts = _start_times(client)
    mean_accuracy = statistics.mean(run["test_accuracy"] for run in recipe)
    mean_loss = statistics.mean(run["epoch_1_loss"] for run in recipe)
    same = repeat == recipe[0]["weights_sha256"]
    claims = [
        Claim(
            "mean test accuracy, seeds 777, 0, 1",
            ".976 to .984",
            f"{mean_accuracy:.4f}",
            0.976 <= mean_accuracy <= 0.984,
        ),
        Claim("mean loss of epoch 1", ".235 to .265", f"{mean_loss:.4f}", 0.235 <= mean_loss <= 0.265),
        Claim("zeros with ReLU: test accuracy", "exactly .1135", f"{zeros:.4f}", zeros == 0.1135),
        Claim("same spec and seed twice: weights_sha256", "equal", "equal" if same else "different", same),
        Claim(
            "POST /jobs to first epoch, idle worker, median",
            "at most 1 s",
            f"{statistics.median(starts):.3f} s",
            statistics.median(starts) <= 1,
        ),
    ]
    for run in recipe:
        print(f"seed {run['seed']}: test accuracy {run['test_accuracy']:.4f}, epoch 1 loss {run['epoch_1_loss']:.4f}")
    print_table(
        ["what", "bar", "measured", "holds?"],
        [[claim.what, claim.bar, claim.measured, "yes" if claim.holds else "NO"] for claim in claims],
    )
    results = {
        "recipe": recipe,
        "mean_test_accuracy": round(mean_accuracy, 4),
        "mean_epoch_1_loss": round(mean_loss, 4),
        "zeros_test_accuracy": zeros,
        "same_bits": same,
        "start_s": {"median": round(statistics.median(starts), 3), "worst": round(max(starts), 3)},
    }
    write_json("acceptance", "make acceptance", results)
    if not all(claim.holds for claim in claims):
        raise SystemExit(1)


def _recipe(client: httpx.Client) -> list[dict[str, Any]]:
    runs = []
    for seed in SEEDS:
        job = finished_job(client, {"preset": "mnist_nn_xavier", "seed": seed})
        evaluation = client.get(f"/models/{job['id']}/evaluation").raise_for_status().json()
        runs.append(
            {
                "seed": seed,
                "test_accuracy": evaluation["test_accuracy"],
                "test_accuracy_raw255": evaluation["test_accuracy_raw255"],
                "epoch_1_loss": round(job["metrics"][0]["train_loss_mean"], 4),
                "epoch_15_loss": round(job["metrics"][-1]["train_loss_mean"], 5),
                "weights_sha256": _weights(client, job),
            }
        )
    return runs


def _weights(client: httpx.Client, job: dict[str, Any]) -> str:
    digest: str = client.get(f"/models/{job['id']}").raise_for_status().json()["weights_sha256"]
    return digest


def _zeros(client: httpx.Client) -> float:
    job = finished_job(client, {"preset": "mnist_nn_xavier", "init": {"scheme": "zeros"}, "epochs": 2})
    accuracy: float = client.get(f"/models/{job['id']}/evaluation").raise_for_status().json()["test_accuracy"]
    return accuracy


def _start_times(client: httpx.Client) -> list[float]:
    """Return the seconds from a job's row to its committed initial weights, after which its first epoch runs."""
    seconds = []
    for _ in range(IDLE_SUBMISSIONS):
        job = finished_job(client, {"preset": "mnist_nn_xavier", "epochs": 1})
        first = client.get(f"/jobs/{job['id']}/checkpoints").raise_for_status().json()["data"][0]
        seconds.append(seconds_between(job["created_at"], first["created_at"]))
    return seconds


if __name__ == "__main__":
    main()
