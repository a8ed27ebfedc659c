"""The command line `fanin`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

from models.errors import FaninError
from service.commands import backup_cli
from service.commands.parsers import add_command
from service.commands.startup import bind, migrate_all, migrate_now_or_later
from service.errors import FOR_A_PERSON, Unavailable
from service.logs import set_up_logging
from service.processes.hardware import usable_cores
from service.processes.supervisor import (
    EXIT_TRY_AGAIN,
    EXIT_WRONG_USE,
    Child,
    Supervisor,
    end_with_parent,
    slot_children,
)
from service.settings import Settings, read_settings

log = logging.getLogger(__name__)

GRACEFUL_STOP_S = 3
PORT_PATIENCE_S = GRACEFUL_STOP_S + 2.0


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status. Errors are printed as one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (FaninError, OSError) as error:
        print(f"fanin: {error}", file=sys.stderr)
        return _status_of(error, is_supervised=getattr(options, "supervised", False))


def _status_of(error: Exception, *, is_supervised: bool) -> int:
    """Return the exit status of an error: whether a person has to change something, or to try again may help."""
    if isinstance(error, FOR_A_PERSON):
        return EXIT_WRONG_USE
    return EXIT_TRY_AGAIN if is_supervised or isinstance(error, Unavailable) else EXIT_WRONG_USE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fanin", description="Train and serve MNIST digit classifiers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = add_command(commands, "serve", _serve)
    api = add_command(commands, "api", _api)
    for listening in (serve, api):
        listening.add_argument("--host", help="address to listen on (FANIN_HOST)")
        listening.add_argument("--port", type=int, help="port to listen on (FANIN_PORT)")
        listening.add_argument("--insecure", action="store_true", default=None, help="beyond loopback without a key")
    worker = add_command(commands, "worker", _worker)
    for working in (serve, worker):
        working.add_argument("--slots", help="worker processes: auto, or a number (FANIN_SLOTS)")
    slot = add_command(commands, "slot", _slot)
    for ending in (worker, slot):
        ending.add_argument(
            "--exit-when-idle", type=_positive, metavar="SECONDS", help="end after so long without a run"
        )
        ending.add_argument("--max-runs", type=_positive, metavar="N", help="end after so many runs")
    slot.add_argument("name", help="name of the slot, such as cpu-0")
    slot.add_argument("--threads", type=int, default=usable_cores(), help="CPU threads (default: all cores)")
    for child in (api, slot):
        child.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    add_command(commands, "migrate", _migrate)
    health = add_command(commands, "health", _health)
    health.add_argument("role", nargs="?", choices=["api", "worker"], default="api", help="which (default: api)")
    health.add_argument("--port", type=int, help="port of the API (FANIN_PORT)")
    add_command(commands, "doctor", _doctor)
    add_command(commands, "openapi", _openapi)
    reproduce = add_command(commands, "reproduce", _reproduce)
    reproduce.add_argument("recipes", nargs="*", metavar="RECIPE", help="names such as R7 (default: all but long ones)")
    reproduce.add_argument("--seeds", type=_positive, help="number of seeds, instead of each recipe's own")
    reproduce.add_argument(
        "--out", type=Path, default=Path("docs/reference/experiments.md"), help="Markdown file to write"
    )
    backup_cli.add_to(commands)
    demo = add_command(commands, "demo", _demo)
    demo.add_argument("--epochs", type=int, help="number of epochs (default: the preset's 15)")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def _listening_settings(options: argparse.Namespace) -> Settings:
    return read_settings(
        host=options.host, port=options.port, insecure=options.insecure, slots=getattr(options, "slots", None)
    )


def _serve(options: argparse.Namespace) -> int:
    settings = _listening_settings(options)
    set_up_logging(settings, "serve")
    migrate_now_or_later(settings)
    shutil.rmtree(settings.home / "metrics", ignore_errors=True)  # counts begin with the service
    environment = {
        "FANIN_HOST": settings.host,
        "FANIN_PORT": str(settings.port),
        "FANIN_INSECURE": str(settings.insecure).lower(),
    }
    count = settings.api_processes
    names = ["api"] if count == 1 else [f"api-{number}" for number in range(count)]
    supervisor = _supervisor([*(Child(name, ["api"], environment) for name in names), *slot_children(settings)])
    print(
        f"Fanin listens on http://{settings.host}:{settings.port} (API reference: /docs). Ctrl-C stops it.",
        flush=True,
    )
    return supervisor.run()


def _worker(options: argparse.Namespace) -> int:
    settings = read_settings(slots=options.slots)
    set_up_logging(settings, "worker")
    limits = (("--exit-when-idle", options.exit_when_idle), ("--max-runs", options.max_runs))
    children = slot_children(settings, [word for name, value in limits if value for word in (name, str(value))])
    print(f"Workers of {settings.node}: {', '.join(child.name for child in children)}. Ctrl-C stops them.", flush=True)
    return _supervisor(children).run()


def _supervisor(children: list[Child]) -> Supervisor:
    supervisor = Supervisor(children)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    return supervisor


def _api(options: argparse.Namespace) -> int:
    # The product of a single image is too small for several BLAS threads; large batches use the API's own threads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    settings = _listening_settings(options)
    import uvicorn

    from service.app import create_application
    from service.http.server_protocol import protocol_within

    set_up_logging(settings, "api")
    if options.supervised:
        end_with_parent()
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.api_processes > 1:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bind(listener, settings.host, settings.port, PORT_PATIENCE_S)
    except OSError as error:
        print(
            f"fanin: cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Choose another port with --port or FANIN_PORT.",
            file=sys.stderr,
        )
        return EXIT_WRONG_USE
    config = uvicorn.Config(
        create_application(settings),
        http=protocol_within(settings.max_connections),
        access_log=False,
        server_header=False,
        proxy_headers=False,  # no code needs the client's address, and parsing costs time
        log_config=None,
        timeout_graceful_shutdown=GRACEFUL_STOP_S,
    )
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _slot(options: argparse.Namespace) -> int:
    settings = read_settings()
    set_up_logging(settings, f"worker-{options.name}")
    if options.supervised:
        end_with_parent()
    if options.name.startswith("cpu"):
        # The API, and heartbeats while another worker starts, then still get a core when they need it. It comes before
        # the import of torch, which occupies a core for seconds.
        os.nice(settings.cpu_niceness)
    from service.training.devices import GpuUnusable
    from service.training.worker import Worker, WorkerLimits

    try:
        limits = WorkerLimits(options.exit_when_idle, options.max_runs)
        worker = Worker(settings, options.name, options.threads, limits)
    except GpuUnusable as error:  # the driver may recover; other slots continue
        log.error("%s", error)  # noqa: TRY400 - a traceback adds nothing
        return EXIT_TRY_AGAIN
    worker.run()
    return 0


def _health(options: argparse.Namespace) -> int:
    from service.commands.health import health_of

    health = health_of(options.role, read_settings(port=options.port, insecure=True))  # it listens on nothing
    print(health.text)
    return 0 if health.is_well else 1


def _doctor(_options: argparse.Namespace) -> int:
    from service.commands.doctor import examine

    findings = examine(read_settings())
    for finding in findings:
        print(f"{'ok   ' if finding.is_fine else 'WRONG'}  {finding.subject}: {finding.text}")
    return 0 if all(finding.is_fine for finding in findings) else 1


def _migrate(_options: argparse.Namespace) -> int:
    settings = read_settings()
    set_up_logging(settings, "migrate")
    migrate_all(settings)
    print("The database is up to date.")
    return 0


def _openapi(_options: argparse.Namespace) -> int:
    from service.app import create_app

    print(json.dumps(create_app(Settings(home=Path("var"))).openapi(), indent=2, ensure_ascii=False))
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from service.commands.reproduce import reproduce

    return reproduce(read_settings(), options.recipes, options.seeds, options.out)


def _demo(options: argparse.Namespace) -> int:
    from service.commands.demo import run_demo

    return run_demo(read_settings(), options.epochs)


if __name__ == "__main__":
    raise SystemExit(main())
