"""`fanin demo`: start a service, train, predict one digit, and stop; it uses the client, and so only the public API."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from fanin import ApiError, Client, Job
from fanin.answers import Evaluation
from fanin.progress import AsBar, progress_bar
from fanin.terminal import drawn_digit
from rich.console import Console

from models.data.mnist import HOW_TO_GET_MNIST
from models.errors import FaninError
from service.commands.local_service import LocalService, Termination, users_environment
from service.settings import Settings

PRESET: Literal["mnist_nn_xavier"] = "mnist_nn_xavier"


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
        client = stack.enter_context(Client(service.base_url))
        job = client.jobs.create(preset=PRESET, epochs=epochs)
        console.print(f"Job [bold]{job.id}[/bold]: {PRESET}, {job.spec.epochs} epochs, seed {job.spec.seed}.")
        job = _followed(job, console, termination)
        evaluation = job.model().evaluation()
        _show_evaluation(evaluation, console)
        name = "mnist" if evaluation.evaluated_on == "mnist_test" else "mnist_5k"
        _predict_one(client, settings, job, name, console)
        _show_curl(job.id, settings, console)
    console.print("The service is stopped. [bold]make serve[/bold] starts it again, with this model.")
    return 0


def _followed(job: Job, console: Console, termination: Termination) -> Job:
    """Show a progress bar until the job has ended, and return it. Raises `DemoFailed` if it does not succeed."""
    said = False
    with progress_bar(console) as progress:
        bar = AsBar(progress)

        def look(now: Job) -> None:
            nonlocal said
            termination.check()
            if not said and now.data_source is not None:
                said = True
                _say_data(now.data_source.name, progress.console)
            bar.show(now)

        job = job.wait(progress=look)
    if job.state != "succeeded":
        detail = job.error.detail if job.error is not None else "see the log"
        raise DemoFailed(f"The job is {job.state}: {detail}")
    return job


def _say_data(name: str, console: Console) -> None:
    if name == "mnist":
        console.print("Data: MNIST, 60,000 training digits, 10,000 test digits.")
    else:
        console.print(
            f"Data: {name}, 4,000 of 5,000 MNIST training digits (1,000 held out). {HOW_TO_GET_MNIST}", soft_wrap=True
        )


def _show_evaluation(evaluation: Evaluation, console: Console) -> None:
    interval = evaluation.accuracy_interval
    of = "the MNIST test set" if evaluation.evaluated_on == "mnist_test" else "held-out MNIST training digits"
    console.print(
        f"[bold]Accuracy {evaluation.accuracy:.2%}[/bold] on {evaluation.n:,} images of {of} "
        f"(95 % interval {interval.low:.2%} to {interval.high:.2%}).",
        soft_wrap=True,
    )


def _predict_one(client: Client, settings: Settings, job: Job, name: str, console: Console) -> None:
    """Post a test digit as a PNG, and draw it next to the prediction."""
    try:
        png, digit = client.datasets.digit_png(name, 0), client.datasets.digit(name, 0)
    except ApiError as error:
        raise DemoFailed(f"The test digit is not available: {error}") from error
    (settings.home / "digit.png").write_bytes(png)
    answer = client.predict(png, job.id)
    console.print(f"\nTest digit 0 is a {digit.label}; the model says [bold]{answer.label}[/bold]:")
    drawn = drawn_digit(digit.pixels, answer.probabilities or [], answer.label)
    console.print(drawn, markup=False, soft_wrap=True)


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
