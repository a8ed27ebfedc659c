"""What a request says cannot look like a line of the log."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.log_context import begin_request, working_on
from service.logs import JsonFormatter, OneLineFormatter, set_up_logging
from service.settings import Settings

FORMAT = "%(levelname)s %(message)s"


def written(message: str, error: BaseException | None = None) -> list[str]:
    """Return the lines of a record."""
    information = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("fanin", logging.WARNING, __file__, 1, "%s", (message,), information)
    return OneLineFormatter(FORMAT).format(record).splitlines()


def test_control_characters_are_written_as_escapes() -> None:
    assert written("GET /a\nERROR forged\r\x1b[31m\x85\u2028b") == [
        r"WARNING GET /a\nERROR forged\r\x1b[31m\x85\u2028b"
    ]


def test_other_letters_stay() -> None:
    assert written("GET /café 숫자 \\n") == ["WARNING GET /café 숫자 \\n"]


def test_the_lines_of_a_traceback_are_indented_whatever_the_error_says() -> None:
    try:
        raise ValueError("one\nERROR forged")
    except ValueError as error:
        first, *traceback = written("failed", error)
    assert first == "WARNING failed"
    assert any("ERROR forged" in line for line in traceback)
    assert all(line.startswith("    ") for line in traceback)


# -- lines of JSON ---------------------------------------------------------------------------------------


def in_json(message: str, error: BaseException | None = None) -> dict[str, Any]:
    """Return the one line of a record as an object."""
    information = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("service.x", logging.WARNING, __file__, 1, "%s", (message,), information)
    (line,) = JsonFormatter("api").format(record).splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_of_json_has_its_message_whole_and_alone() -> None:
    hostile = 'GET /a\n{"level": "error"}\r\x1b[31m\x85\u2028"b"'
    line = in_json(hostile)
    assert line["message"] == hostile
    assert (line["level"], line["process"], line["logger"]) == ("warning", "api", "service.x")
    assert line["time"].endswith("Z")
    assert "request_id" not in line


def test_a_line_says_what_it_is_about() -> None:
    def of_request() -> dict[str, Any]:
        assert begin_request(b"abc-1") == b"abc-1"
        return in_json("x")

    assert contextvars.Context().run(of_request)["request_id"] == "abc-1"
    with working_on(run="run_1", attempt=2, jobs=["job_1"]):
        line = in_json("x")
    assert (line["run"], line["attempt"], line["jobs"]) == ("run_1", 2, ["job_1"])
    assert "run" not in in_json("x")


@pytest.mark.parametrize("sent", [None, b"", b"a b", b"x" * 65, b"caf\xe9", b"a\nb"])
def test_an_id_that_cannot_be_one_is_replaced(sent: bytes | None) -> None:
    ids = {contextvars.Context().run(begin_request, sent).decode() for _ in range(3)}
    assert len(ids) == 3
    assert all(one.isascii() and 10 <= len(one) <= 20 for one in ids)


def test_an_error_has_its_traceback() -> None:
    with pytest.raises(ValueError, match="one") as caught:
        raise ValueError("one\ntwo")
    assert "ValueError: one\ntwo" in in_json("failed", caught.value)["exception"]


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.level = before[0], before[1]


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("wanted", "is_terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("text", False, False), ("json", True, True)],
)
def test_a_terminal_gets_text_and_a_program_json(
    wanted: Any, is_terminal: bool, is_json: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    set_up_logging(Settings(home=tmp_path, log_format=wanted), "api")
    logging.getLogger("service").info("hello")
    for text in (stream.getvalue(), (tmp_path / "logs" / "api.log").read_text()):
        assert "hello" in text
        assert text.startswith("{") == is_json
