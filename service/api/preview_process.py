"""Previews of schemes, made in a process of its own: the API process does not load torch.

The process is started at first use and kept; it ends with this one, because its standard input closes. One preview is
made at a time, and none takes longer than `PREVIEW_LIMIT_S`: then the process is killed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from models.diagnostics.preview import Preview
from models.errors import InvalidSpec
from models.spec import TrainSpec
from service.errors import Unavailable

log = logging.getLogger(__name__)

START_LIMIT_S = 60.0
PREVIEW_LIMIT_S = 30.0
TURN_LIMIT_S = 10.0
MAX_PARAMETERS = 30_000_000
MAX_ANSWER_BYTES = 2**20


class Previews:
    """Makes previews; belongs to one event loop."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def make(self, spec: TrainSpec) -> Preview:
        """Return the preview of a spec.

        Raises `Unavailable` if others take longer than `TURN_LIMIT_S`, or if the data is missing or the process fails;
        `InvalidSpec` if the network is too large to be looked at while somebody waits, or takes too long.
        """
        parameters = spec.architecture.parameter_count
        if parameters > MAX_PARAMETERS:
            raise InvalidSpec(
                f"A preview is made of at most {MAX_PARAMETERS:,} parameters; this network has {parameters:,}.",
                'Use fewer or narrower layers, or train it with "epochs": 0.',
            )
        async with self._own_turn():
            process = await self._ready()
            try:
                async with asyncio.timeout(PREVIEW_LIMIT_S):
                    answer = await self._asked(process, spec.model_dump_json())
            except TimeoutError:
                self.close()
                raise InvalidSpec(
                    f"The preview took longer than {PREVIEW_LIMIT_S:.0f} s.",
                    'Use fewer or narrower layers, or train with "epochs": 0.',
                ) from None
            except asyncio.CancelledError:
                self.close()  # or the next request would get this one's answer
                raise
        if "error" in answer:
            raise (InvalidSpec if answer["is_spec"] else Unavailable)(answer["error"], answer["hint"])
        return Preview.model_validate(answer["preview"])

    @asynccontextmanager
    async def _own_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_LIMIT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise Unavailable("Other previews are being made.", "Try again in some seconds.") from None
        try:
            yield
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        self._process = None

    async def _ready(self) -> asyncio.subprocess.Process:
        """Return the process, started and ready; loading torch counts under a limit of its own."""
        if self._process is not None and self._process.returncode is None:
            return self._process
        arguments = ("-m", "models", "previews", "--data-dir", str(self._data_dir))
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=pipe, stdout=pipe, limit=MAX_ANSWER_BYTES
        )
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await self._line_of(self._process)
        except TimeoutError:
            self.close()
            raise Unavailable("The process that makes previews did not start in time.", "Try again soon.") from None
        except asyncio.CancelledError:
            self.close()
            raise
        return self._process

    async def _asked(self, process: asyncio.subprocess.Process, line: str) -> dict[str, Any]:
        assert process.stdin is not None
        try:
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
        except ConnectionError as error:
            log.warning("the preview process is gone: %s", error)
        return await self._line_of(process)

    async def _line_of(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        assert process.stdout is not None
        try:
            found: dict[str, Any] = json.loads(await process.stdout.readline())
        except (ConnectionError, ValueError) as error:
            log.warning("the preview process failed: %s", error)
            self.close()
            raise Unavailable(
                "The process that makes previews ended: out of memory?", "Try a smaller network."
            ) from None
        return found
