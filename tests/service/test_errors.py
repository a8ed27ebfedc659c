from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import models.errors
import service.commands.backup
import service.commands.demo
import service.commands.local_service
import service.commands.move
import service.commands.reproduce
import service.errors
import service.store.workers
import service.training.attempt_policy
import service.training.context
import service.training.devices
import service.training.monitor
import service.training.resume
import service.training.worker
from models.errors import FaninError
from service.errors import STATUS_OF, NotFound, error_name

NEVER_ANSWERED = {
    service.training.devices.GpuUnusable,
    service.training.attempt_policy.TooManyAttempts,
    models.errors.EngineMissing,
    service.training.context.Drained,
    service.training.attempt_policy.LacksData,
    service.training.resume.ResumeLost,
    service.training.monitor.TimeLimit,
    service.commands.backup.BackupFailed,
    service.commands.move.MoveFailed,
    service.store.workers.NameLost,
    service.commands.demo.DemoFailed,
    service.commands.reproduce.NotReproduced,
    service.commands.local_service.ServiceFailed,
}
"""Errors of processes that answer no requests."""


def subclasses(error: type[FaninError]) -> Iterator[type[FaninError]]:
    yield error
    for below in error.__subclasses__():
        yield from subclasses(below)


def test_every_error_has_a_status() -> None:
    for room in pkgutil.walk_packages(service.__path__, "service."):
        if not room.name.endswith("__main__") and ".migrations" not in room.name:
            importlib.import_module(room.name)  # an error is found whichever tests ran before
    assert set(subclasses(FaninError)) - NEVER_ANSWERED == set(STATUS_OF)


def test_every_error_is_drawn_in_the_tree_of_its_file() -> None:
    for module in (models.errors, service.errors):
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, FaninError) and value.__module__ == module.__name__:
                assert name in (module.__doc__ or "")


def test_names_are_kebab_case() -> None:
    assert error_name(NotFound("x")) == "not-found"
