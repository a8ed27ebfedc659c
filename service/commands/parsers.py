"""One command of the command line `fanin`."""

from __future__ import annotations

import argparse

from service.commands.listing import COMMANDS


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: object
) -> argparse.ArgumentParser:
    """Add a command that calls `run` with the parsed options, and return its parser."""
    text = COMMANDS[name]
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser
