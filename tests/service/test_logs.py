"""What a request says cannot look like a line of the log."""

from __future__ import annotations

import logging

from service.logs import OneLineFormatter

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
