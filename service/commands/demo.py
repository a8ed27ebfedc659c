"""`fanin demo`: start a service, train, predict one digit, and stop; it uses only the public API."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from models.data.mnist import HOW_TO_GET_MNIST
from models.errors import FaninError
from service.commands.local_service import LocalService, Termination, users_environment
from service.settings import Settings

LOOK_INTERVAL_S = 0.25
PRESET = "mnist_nn_xavier"
SHADES = " .:-=+*#%@"


class DemoFailed(FaninError):
    """The demo cannot finish."""


def run_demo(settings: Settings, epochs: int | None) -> int:
    """Run the demo in the terminal and return 0. Stops its service. Raises `DemoFailed`, `ServiceFailed`."""
    termination = Termination()
    console = Console(highlight=False)
    service = LocalService(users_environment(), settings.home / "logs" / "demo.log", termination.sleep)
    with ExitStack() as stack:
        with console.status(f"Starting Fanin on {service.base_url} ..."):
            stack.enter_context(service)
        client = stack.enter_context(httpx.Client(base_url=service.base_url, timeout=30))
        request = {"preset": PRESET} | ({"epochs": epochs} if epochs else {})
        job = _answer(client.post("/jobs", json=request))
        console.print(
            f"Job [bold]{job['id']}[/bold]: {PRESET}, {job['spec']['epochs']} epochs, seed {job['spec']['seed']}."
        )
        _follow(client, job["id"], console, termination)
        evaluation = _answer(client.get(f"/models/{job['id']}/evaluation"))
        _show_evaluation(evaluation, console)
        name = "mnist" if evaluation["evaluated_on"] == "mnist_test" else "mnist_5k"
        _predict_one(client, settings, job["id"], name, console)
        _show_curl(job["id"], settings, console)
    console.print("The service is stopped. [bold]make serve[/bold] starts it again, with this model.")
    return 0


def _answer(response: httpx.Response) -> Any:
    if response.is_error:
        raise DemoFailed(
            f"{response.request.method} {response.request.url} returned {response.status_code}: {response.text}"
        )
    return response.json()


def _follow(client: httpx.Client, job_id: str, console: Console, termination: Termination) -> None:
    """Show a progress bar until the job has ended."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("waiting", total=100, now="")
        data_is_shown = False
        while True:
            job = _answer(client.get(f"/jobs/{job_id}"))
            if job["data_source"] and not data_is_shown:
                data_is_shown = True
                _say_data(job["data_source"]["name"], console)
            if job["state"] in {"failed", "cancelled"}:
                reason = job["error"]["detail"] if job["error"] else "it was cancelled"
                raise DemoFailed(f"The job {job['state']}: {reason}")
            done = job["state"] == "succeeded"
            description, now = _bar_texts(job)
            percent = 100.0 if done else float((job["progress"] or {}).get("percent", 0))
            bar.update(task, completed=percent, description=description, now=now)
            if done:
                return
            termination.sleep(LOOK_INTERVAL_S)


def _bar_texts(job: dict[str, Any]) -> tuple[str, str]:
    """Return the texts before and after the bar."""
    progress, metrics = job["progress"], job["metrics"]
    if job["state"] == "succeeded" and metrics:
        last = metrics[-1]
        epoch, epochs = last["epoch"], job["spec"]["epochs"]
        return f"epoch {epoch}/{epochs}", f"loss {last['train_loss_mean']:.4f}  {last['images_per_s']:,.0f} images/s"
    if not progress or progress["phase"] == "prepare":
        return job["state"], ""
    numbers = (
        f"loss {progress['running_loss']:.4f}",
        f"{progress['images_per_s']:,.0f} images/s",
        f"{progress['time_left_s']:.0f} s left",
    )
    return f"epoch {progress['epoch']}/{progress['epochs']}", "  ".join(numbers)


def _say_data(name: str, console: Console) -> None:
    if name == "mnist":
        console.print("Data: MNIST, 60,000 training digits, 10,000 test digits.")
    else:
        console.print(
            f"Data: {name}, 4,000 of 5,000 MNIST training digits (1,000 held out). {HOW_TO_GET_MNIST}", soft_wrap=True
        )


def _show_evaluation(evaluation: dict[str, Any], console: Console) -> None:
    interval = evaluation["accuracy_interval"]
    of = "the MNIST test set" if evaluation["evaluated_on"] == "mnist_test" else "held-out MNIST training digits"
    console.print(
        f"[bold]Accuracy {evaluation['accuracy']:.2%}[/bold] on {evaluation['n']:,} images of {of} "
        f"(95 % interval {interval['low']:.2%} to {interval['high']:.2%}).",
        soft_wrap=True,
    )


def _predict_one(client: httpx.Client, settings: Settings, job_id: str, name: str, console: Console) -> None:
    """Post a test digit as a PNG, and draw it next to the prediction."""
    png = client.get(f"/datasets/{name}/test/0", headers={"Accept": "image/png"})
    if png.is_error:
        raise DemoFailed(f"The test digit is not available: {png.text}")
    (settings.home / "digit.png").write_bytes(png.content)
    pixels = _answer(client.get(f"/datasets/{name}/test/0"))["pixels"]
    predict = client.post(
        "/predict", params={"model": job_id}, content=png.content, headers={"Content-Type": "image/png"}
    )
    answer = _answer(predict)
    inked = [number for number, row in enumerate(pixels) if any(row)]
    rows = pixels[inked[0] - 1 : inked[-1] + 2]
    drawn = ["".join(SHADES[level * (len(SHADES) - 1) // 255] * 2 for level in row) for row in rows]
    bars = [
        f"{digit}  {'█' * round(30 * share):<30} {share:7.2%}{'  <' if digit == answer['label'] else ''}"
        for digit, share in enumerate(answer["probabilities"])
    ]
    console.print(f"\nTest digit 0 is a {png.headers['X-Label']}; the model says [bold]{answer['label']}[/bold]:")
    first = (len(drawn) - len(bars)) // 2
    for number, line in enumerate(drawn):
        bar = bars[number - first] if first <= number < first + len(bars) else ""
        console.print(f"{line}  {bar}", markup=False, soft_wrap=True)


def _show_curl(job_id: str, settings: Settings, console: Console) -> None:
    digit = shlex.quote(str(_relative(settings.home / "digit.png")))
    base_url = f"http://{settings.host}:{settings.port}"
    console.print("\nThe same two calls with curl, while [bold]make serve[/bold] runs:")
    lines = (
        f"""curl --json '{{"preset": "{PRESET}"}}' {base_url}/jobs""",
        f"curl -H 'Content-Type: image/png' --data-binary @{digit} '{base_url}/predict?model={job_id}'",
    )
    for line in lines:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
