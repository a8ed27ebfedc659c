"""Commands that run a service of their own: when they end on SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from service.commands.local_service import Termination


@pytest.fixture
def termination() -> Iterator[Termination]:
    before = signal.getsignal(signal.SIGTERM)
    yield Termination()
    signal.signal(signal.SIGTERM, before)


def test_sigterm_ends_a_command_where_it_sleeps_and_nowhere_else(termination: Termination) -> None:
    termination.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)  # an exception from the handler would end the test here
    with pytest.raises(SystemExit) as ended:
        termination.sleep(60)
    assert ended.value.code == 143
