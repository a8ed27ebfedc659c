"""The commands on jobs: submit, watch, jobs, cancel, pause, resume, retry."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fanin import Client, Job
from fanin.cli.arguments import count, fields, labels, listed_labels, merged, spec_in
from fanin.cli.output import Output
from fanin.cli.specs import completed

FAILED = 1
ACTIONS = {"cancel": "cancel", "pause": "pause", "resume": "resume", "retry": "retry"}


def add_to(commands: Any) -> None:
    """Add the commands to the parser."""
    submit = commands("submit", _submit, "queue a training (15 epochs unless you say otherwise); with --wait, show it")
    submit.add_argument("--preset", metavar="PRESET", help="mnist_nn_xavier or mnist_nn_deep")
    submit.add_argument("--init", metavar="SCHEME", help="the initialization scheme, such as he_normal")
    submit.add_argument("--spec", type=Path, metavar="FILE", help="a spec as JSON, as GET /jobs/{id} shows it")
    submit.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="epochs=3, optimizer.lr=0.01")
    submit.add_argument("--name", help="a name to find it by")
    submit.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a label to find it by")
    submit.add_argument("--priority", choices=["high", "normal", "low"], help="before or behind others in the queue")
    submit.add_argument("--device", choices=["any", "cpu", "gpu"], help="what may train it (default: any)")
    submit.add_argument("--wait", action="store_true", help="wait for its end; status 0 only if it succeeds")
    watch = commands("watch", _watch, "show a job or an experiment until it has ended; status 0 only if it succeeds")
    watch.add_argument("id", help="job_... or exp_...")
    watch.add_argument("--timeout", type=float, metavar="SECONDS", help="give up after so long; the job goes on")
    jobs = commands("jobs", _jobs, "list jobs, the newest first")
    jobs.add_argument("--state", action="append", help="only those in this state; may be repeated")
    jobs.add_argument("--scheme", help="only those of this scheme")
    jobs.add_argument("--label", action="append", help="only those with this label: KEY:VALUE or KEY")
    jobs.add_argument("--sort", help="-accuracy, loss, created_at, ...")
    jobs.add_argument("--limit", type=count, default=20, help="how many (default: 20)")
    logs = commands("logs", _logs, "print what the worker has logged of a job")
    logs.add_argument("id", metavar="JOB", help="job_...")
    logs.add_argument("--attempt", type=count, metavar="N", help="of this attempt (default: the last one)")
    logs.add_argument("--tail", type=count, metavar="N", help="only the last N lines")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with the lines that come, until the job ends")
    for name, text in (
        ("cancel", "cancel jobs; their checkpoints stay"),
        ("pause", "pause jobs at the end of their epoch"),
        ("resume", "let paused jobs go on, to the same weights bit for bit"),
        ("retry", "let failed jobs go on from their last checkpoint"),
    ):
        acting = commands(name, _act, text)
        acting.add_argument("ids", nargs="+", metavar="JOB", help="job_...")


def _submit(options: argparse.Namespace, client: Client, output: Output) -> int:
    body = merged(spec_in(options.spec), fields(options.set))
    if options.init:
        body = merged(body, {"init": {"scheme": options.init}})
    if options.preset:
        body["preset"] = options.preset
    job = client.jobs.create(
        spec=completed(client, body),
        name=options.name,
        labels=labels(options.label),
        device=options.device,
        priority=options.priority,
    )
    if options.wait:
        output.note(f"{job.id} is {job.state}. Later: fanin watch {job.id}")
    else:
        output.show(job.to_dict(), f"{job.id} is {job.state}. Watch it: fanin watch {job.id}")
        return 0
    return _ended(job.wait(progress=not output.is_json), output)


def _watch(options: argparse.Namespace, client: Client, output: Output) -> int:
    if options.id.startswith("exp_"):
        experiment = client.experiments.get(options.id).wait(options.timeout, progress=not output.is_json)
        states = ", ".join(f"{count} {state}" for state, count in experiment.states.items() if count)
        output.show(experiment.to_dict(), f"{experiment.id}: {states}. Compare them: fanin compare {experiment.id}")
        return 0 if experiment.states.get("succeeded") == len(experiment.members) else FAILED
    return _ended(client.jobs.get(options.id).wait(options.timeout, progress=not output.is_json), output)


def _ended(job: Job, output: Output) -> int:
    if job.state == "succeeded":
        text = f"{job.id} succeeded" + ("" if job.accuracy is None else f": accuracy {job.accuracy:.2%}")
        outcome = job.to_dict().get("outcome")
        text += f". {outcome['kind'].replace('_', ' ')}: {outcome['reason']}" if outcome else ""
        output.show(job.to_dict(), text)
        return 0
    reason = "" if job.error is None else f": {job.error.detail} {job.error.hint or ''}".rstrip()
    output.show(job.to_dict(), f"{job.id} {job.state}{reason}")
    return FAILED


def _jobs(options: argparse.Namespace, client: Client, output: Output) -> int:
    found = client.jobs.list(
        state=options.state,
        scheme=options.scheme,
        label=listed_labels(options.label),
        sort=options.sort,
        limit=options.limit,
    ).collect()
    heads = ["id", "state", "scheme", "epoch", "loss", "accuracy", "name"]
    rows = [
        [
            job.id,
            job.state,
            job.spec.init.scheme,
            f"{job.epoch}/{job.spec.epochs}",
            "" if job.loss is None else f"{job.loss:.4f}",
            "" if job.accuracy is None else f"{job.accuracy:.2%}",
            job.name or "",
        ]
        for job in found
    ]
    output.show_table([job.to_dict() for job in found], heads, rows, "There are no such jobs.")
    return 0


def _logs(options: argparse.Namespace, client: Client, output: Output) -> int:
    if options.follow:
        for line in client.jobs.follow_logs(options.id, attempt=options.attempt, tail=options.tail):
            output.show_line({"job": options.id, "line": line}, line)
        return 0
    text = client.jobs.logs(options.id, attempt=options.attempt, tail=options.tail)
    output.show({"job": options.id, "log": text}, text.rstrip("\n"))
    return 0


def _act(options: argparse.Namespace, client: Client, output: Output) -> int:
    changed = [getattr(client.jobs, ACTIONS[options.command])(job_id) for job_id in options.ids]
    rows = [[job.id, job.state] for job in changed]
    output.show_table([job.to_dict() for job in changed], ["id", "state"], rows, "")
    return 0
