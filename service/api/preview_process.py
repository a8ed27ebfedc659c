"""Previews, phase diagrams and samples, computed in a child process, because the API process does not load torch.

The first preview starts the process, and later ones reuse it. It ends with the API process, because its standard input
closes. It computes one preview at a time; a preview that takes longer than `PREVIEW_LIMIT_S` is aborted by killing it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from models.diagnostics.distributions import Distributions, WeightsFile
from models.diagnostics.phase import PhaseDiagram, PhaseRequest
from models.diagnostics.preview import Preview
from models.errors import InvalidSpec
from models.generator.requests import GeneratorFile, Likelihood, LikelihoodOptions, RawSamples, SampleOptions
from models.spec import TrainSpec
from service.errors import Unavailable

log = logging.getLogger(__name__)

IsGone = Callable[[], Awaitable[bool]]

START_LIMIT_S = 60.0
PREVIEW_LIMIT_S = 30.0
TURN_LIMIT_S = 10.0
LOOK_INTERVAL_S = 0.5
MAX_PARAMETERS = 30_000_000
MAX_ANSWER_BYTES = 2**20


class Previews:
    """The preview process of one event loop."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._killed: set[asyncio.Future[int]] = set()

    async def make(self, spec: TrainSpec, is_gone: IsGone) -> Preview:
        """Return the preview of a spec; give up, and kill the process, soon after `is_gone` says that nobody waits.

        Raises `Unavailable` if earlier previews take longer than `TURN_LIMIT_S`, the data is missing or the process
        fails; `InvalidSpec` if the network has more than `MAX_PARAMETERS` or takes longer than `PREVIEW_LIMIT_S`.
        """
        parameters = spec.architecture.parameter_count
        if parameters > MAX_PARAMETERS:
            raise InvalidSpec(
                f"A preview is limited to {MAX_PARAMETERS:,} parameters; this network has {parameters:,}.",
                'Use fewer or narrower layers, or train it with "epochs": 0.',
            )
        hint = 'Use fewer or narrower layers, or train with "epochs": 0.'
        return Preview.model_validate(await self._answer({"preview": spec.model_dump(mode="json")}, hint, is_gone))

    async def phase_diagram(self, request: PhaseRequest, is_gone: IsGone) -> PhaseDiagram:
        """Return a phase diagram. Raises `Unavailable` and `InvalidSpec` as `make` does."""
        answer = await self._answer({"phase": request.model_dump(mode="json")}, "Use a smaller grid.", is_gone)
        return PhaseDiagram.model_validate(answer)

    async def samples(self, file: GeneratorFile, options: SampleOptions, is_gone: IsGone) -> RawSamples:
        """Return the pictures of a belief network's chains. Raises `Unavailable` and `InvalidSpec` as `make` does."""
        request = {"file": file.model_dump(mode="json"), "samples": options.model_dump(mode="json")}
        return RawSamples.model_validate(await self._answer(request, "Use fewer steps or chains.", is_gone))

    async def likelihood(self, file: GeneratorFile, options: LikelihoodOptions, is_gone: IsGone) -> Likelihood:
        """Return how probable images are to a machine. Raises `Unavailable` and `InvalidSpec` as `make` does."""
        request = {"file": file.model_dump(mode="json"), "likelihood": options.model_dump(mode="json")}
        return Likelihood.model_validate(await self._answer(request, "Use fewer temperatures or chains.", is_gone))

    async def distributions(self, file: WeightsFile, parameters: int, is_gone: IsGone) -> Distributions:
        """Return the distributions in the layers of a stored network. Raises `Unavailable` and `InvalidSpec`."""
        if parameters > MAX_PARAMETERS:
            raise InvalidSpec(
                f"Distributions are limited to {MAX_PARAMETERS:,} parameters; {file.model} has {parameters:,}.",
                "GET /models/{id}/weights has the weights themselves.",
            )
        request = {"distributions": file.model_dump(mode="json")}
        return Distributions.model_validate(await self._answer(request, "Train a smaller network.", is_gone))

    async def _answer(self, request: dict[str, Any], hint: str, is_gone: IsGone) -> dict[str, Any]:
        work = asyncio.ensure_future(self._computed(request, hint))
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=LOOK_INTERVAL_S)
                if not work.done() and await is_gone():
                    raise Unavailable("The client has gone.")
            return work.result()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    async def _computed(self, request: dict[str, Any], hint: str) -> dict[str, Any]:
        async with self._own_turn():
            process = await self._ready()
            try:
                async with asyncio.timeout(PREVIEW_LIMIT_S):
                    answer = await self._asked(process, json.dumps(request))
            except TimeoutError:
                self.close()
                raise InvalidSpec(f"It took longer than {PREVIEW_LIMIT_S:.0f} s.", hint) from None
            except asyncio.CancelledError:
                self.close()  # otherwise the next request would read this one's answer
                raise
        if "failed" in answer:
            raise RuntimeError(f"The preview process failed: {answer['failed']}")
        if "error" in answer:
            raise (InvalidSpec if answer["is_spec"] else Unavailable)(answer["error"], answer["hint"])
        found: dict[str, Any] = answer["answer"]
        return found

    @asynccontextmanager
    async def _own_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_LIMIT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise Unavailable("Other previews are in progress.", "Try again in a few seconds.") from None
        try:
            yield
        finally:
            self._turn.release()

    def close(self) -> None:
        """Kill the process if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._killed.add(ended := asyncio.ensure_future(self._process.wait()))
            ended.add_done_callback(self._killed.discard)
        self._process = None

    async def end(self) -> None:
        """Kill the process if it runs, and wait until all that were killed have ended."""
        self.close()
        await asyncio.gather(*self._killed)

    async def _ready(self) -> asyncio.subprocess.Process:
        """Return the process, after starting it if necessary; loading torch has its own limit, `START_LIMIT_S`."""
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
            raise Unavailable("The preview process did not start in time.", "Try again soon.") from None
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
            log.warning("cannot write to the preview process: %s", error)
        return await self._line_of(process)

    async def _line_of(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        assert process.stdout is not None
        try:
            answer: dict[str, Any] = json.loads(await process.stdout.readline())
        except (ConnectionError, ValueError) as error:
            log.warning("the preview process failed: %s", error)
            self.close()
            raise Unavailable("The preview process ended, perhaps out of memory.", "Try a smaller network.") from None
        return answer
