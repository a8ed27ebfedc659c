"""The commands `fanin backup`, `verify`, `restore` and `move` on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from service.commands.parsers import add_command
from service.logs import set_up_logging
from service.settings import read_settings


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands; each sets `run`, as the others do."""
    saving = add_command(commands, "backup", _backup)
    saving.add_argument("destination", type=Path, metavar="DEST", help="folder to make")
    checking = add_command(commands, "verify", _verify)
    checking.add_argument("backup", nargs="?", type=Path, help="folder of a backup (default: the service's own files)")
    bringing = add_command(commands, "restore", _restore)
    bringing.add_argument("backup", type=Path, help="folder of a backup")
    moving = add_command(commands, "move", _move)
    moving.add_argument("--to", required=True, metavar="URL", help="postgresql://USER@HOST/DATABASE or sqlite:///PATH")
    moving.add_argument("--artifacts", metavar="DIR|URL", help="folder or object storage there (default: the same)")
    bringing.add_argument("--accept-damage", action="store_true", help="restore even if files of weights are damaged")


def _backup(options: argparse.Namespace) -> int:
    from service.commands.backup import backup

    print(backup(read_settings(), options.destination))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from service.commands.backup import verify

    verified = verify(read_settings(), options.backup)
    for file, reason in verified.damaged:
        kind = "optimizer state" if file.is_resume else "weights"
        print(f"DAMAGED  {kind} of {file.job_id}@{file.epoch}: {reason}")
    print(f"{verified.files} files checked, {len(verified.damaged)} missing or damaged.")
    return 1 if verified.damaged else 0


def _move(options: argparse.Namespace) -> int:
    from service.commands.move import move, target_of

    settings = read_settings()
    target = target_of(settings, options.to, options.artifacts)
    print(move(settings, target))
    names = [f"FANIN_DATABASE_URL={_without_password(options.to)}"]
    names += [f"FANIN_ARTIFACTS_URL={target.artifacts_url}"] if options.artifacts is not None else []
    print(f"Start the service with {' and '.join(names)}")
    return 0


def _without_password(database_url: str) -> str:
    from sqlalchemy import make_url

    return make_url(database_url).render_as_string(hide_password=True)


def _restore(options: argparse.Namespace) -> int:
    from service.commands.backup import restore

    settings = read_settings()
    set_up_logging(settings, "restore")
    print(restore(settings, options.backup, accept_damage=options.accept_damage))
    return 0
