"""Waiting for the end of a job or of an experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from fanin._sync.clock import sleep
from fanin._sync.transport import Transport
from fanin.errors import FaninError
from fanin.progress import shown
from fanin.waiting import Waiting

Thing = TypeVar("Thing", bound=Any)


def until_ended(
    thing: Thing,
    transport: Transport,
    fetch: Callable[[Transport], Thing],
    waiting: Waiting,
    progress: bool | Callable[[Thing], object],
) -> Thing:
    """Fetch a thing again and again, and show it, until it has ended.

    Each look is one request of no longer than what is left of the wait. Raises `WaitTimeout`, and the error of a
    request that is not of an outage.
    """
    with shown(progress) as display:
        while True:
            try:
                thing = fetch(replace(transport, max_retries=0, timeout_s=waiting.look_s(transport.timeout_s)))
                waiting.note_answer(thing.to_dict().get("state", ""))
            except FaninError as error:
                waiting.note_silence(error)
            display.show(thing)
            if thing.has_ended:
                return thing
            sleep(waiting.pause_s())
