"""The command `fanin`.

Status 0: done, and what was waited for succeeded. 1: a job that was waited for did not succeed, or not in time. 2: the
command or the request is wrong. 3: the service cannot be reached, or failed. 130: interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fanin import (
    BadAnswer,
    Client,
    ConnectionFailed,
    DownloadDamaged,
    FaninError,
    Moved,
    ServiceFailed,
    WaitTimeout,
    __version__,
)
from fanin.cli import job_commands, model_commands
from fanin.cli.completion import SHELLS, script
from fanin.cli.output import Output
from fanin.terminal import printable

NOT_SUCCEEDED, WRONG_USE, OUT_OF_REACH, INTERRUPTED = 1, 2, 3, 130
OUTSIDE = (ConnectionFailed, ServiceFailed, DownloadDamaged, BadAnswer, Moved)
"""Errors of the service, or of what is before it."""
Run = Callable[[argparse.Namespace, Client, Output], int]
OF_THE_SERVICE = ("serve", "worker", "api", "demo", "doctor", "migrate", "backup", "reproduce")
"""What people may ask for where only the client is installed."""
EPILOG = "FANIN_URL names the service (default: http://127.0.0.1:8000), FANIN_API_KEY is its key."


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    server = server_commands()
    if given and given[0] in server:
        return int(server[given[0]].load()(given))
    parsers: dict[str, argparse.ArgumentParser] = {}
    parser = _parser(parsers, server)
    if given and not server and given[0] in OF_THE_SERVICE:
        parser.error(f"`fanin {given[0]}` is a command of the service itself: pip install fanin")
    options = parser.parse_args(given)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of ASCII has no bars
    try:
        if options.command == "completion":
            print(script(options.shell, parsers, server_help()), flush=True)
            return 0
        with Client(options.url) as client:
            return _run(options, client)
    except KeyboardInterrupt:
        print("fanin: interrupted. What was submitted goes on.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FaninError, OSError, ValueError, TypeError, argparse.ArgumentTypeError) as error:
        print(f"fanin: {printable(_in_words(error))}", file=sys.stderr)
        return status_of(error)


def _run(options: argparse.Namespace, client: Client) -> int:
    status = int(options.run(options, client, Output(is_json=options.json)))
    if sys.stdout is not None:
        sys.stdout.flush()  # here, where a reader that has left is handled
    return status


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def status_of(error: Exception) -> int:
    """Return the exit status of an error."""
    if isinstance(error, WaitTimeout):
        return NOT_SUCCEEDED
    return OUT_OF_REACH if isinstance(error, OUTSIDE) else WRONG_USE


def server_commands() -> Mapping[str, EntryPoint]:
    """Return the commands of the service on this machine by name; none if it is not installed."""
    return {entry.name: entry for entry in entry_points(group="fanin.commands")}


def server_help() -> Mapping[str, str]:
    """Return what the commands of the service do, by name."""
    found: dict[str, str] = {}
    for entry in entry_points(group="fanin.command_help"):
        found |= entry.load()
    return found


def _parser(parsers: dict[str, argparse.ArgumentParser], server: Mapping[str, EntryPoint]) -> argparse.ArgumentParser:
    """Return the parser; `parsers` gets that of each command."""
    parser = argparse.ArgumentParser(
        prog="fanin",
        description="Train digit classifiers on a Fanin service, and predict with them.",
        epilog=_epilog(server),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_versions(server))
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command", title="commands")

    def command(name: str, run: Run, text: str) -> argparse.ArgumentParser:
        parsers[name] = made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.add_argument("--url", help="address of the service (FANIN_URL)")
        made.add_argument("--json", action="store_true", help="print the answer of the service as JSON")
        made.set_defaults(run=run)
        return made

    job_commands.add_to(command)
    model_commands.add_to(command)
    completing: Any = commands.add_parser("completion", help="print a script that lets your shell complete commands")
    completing.add_argument("shell", choices=SHELLS, help='bash: eval "$(fanin completion bash)"')
    return parser


def _versions(server: Mapping[str, EntryPoint]) -> str:
    of_service = next((entry.dist for entry in server.values() if entry.dist is not None), None)
    return f"fanin-client {__version__}" + (f", fanin {of_service.version}" if of_service is not None else "")


def _epilog(server: Mapping[str, EntryPoint]) -> str:
    if not server:
        return f"{EPILOG}\n`pip install fanin` adds the service itself: fanin serve."
    texts = server_help()
    width = max(len(name) for name in server)
    lines = "\n".join(f"  {name:<{width}}  {texts[name]}" for name in texts if name in server)
    return f"on this machine (fanin COMMAND --help):\n{lines}\n\n{EPILOG}"


if __name__ == "__main__":
    raise SystemExit(main())
