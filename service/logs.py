"""Logging to standard error and to one rotating file per process in FANIN_HOME/logs."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sys
import time
from logging.handlers import RotatingFileHandler
from typing import Any

from service.log_context import log_fields
from service.settings import Settings

FILE_BYTES = 5 * 2**20
FILES_KEPT = 3


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
INDENT = "    "


class OneLineFormatter(logging.Formatter):
    """Writes each record as one line, so that no request can forge another: control characters are escaped.

    The lines of a traceback are indented; no other line of a log begins with a space.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of the standard library
        """Return the line of a record."""
        return CONTROL.sub(lambda found: repr(found[0])[1:-1], super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - as above
        """Return the indented traceback of a record."""
        return "\n".join(INDENT + line for line in super().formatException(ei).splitlines())


class JsonFormatter(logging.Formatter):
    """Writes each record as one line of JSON: time, level, process, logger, message, and what it is about.

    That is `request_id` in an API process; `run`, `attempt` and `jobs` in a worker; `exception` after an error.
    """

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self._process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; JSON itself escapes the characters that could forge another."""
        at = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process_name,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
            **log_fields(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up_logging(settings: Settings, process_name: str) -> None:
    """Log to standard error and to FANIN_HOME/logs/<process_name>.log, with times in UTC.

    Both are lines of text if a person reads standard error in a terminal, else lines of JSON; FANIN_LOG_FORMAT says
    otherwise.
    """
    is_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    formatter = text_formatter(process_name) if is_text else JsonFormatter(process_name)
    folder = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    file = RotatingFileHandler(folder / f"{process_name}.log", maxBytes=FILE_BYTES, backupCount=FILES_KEPT)
    root = logging.getLogger()
    root.handlers.clear()
    for handler in (logging.StreamHandler(sys.stderr), file):
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    for chatty in ("alembic", "httpx", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each malformed byte of a form


def text_formatter(process_name: str) -> logging.Formatter:
    """Return the formatter of lines of text, with times in UTC."""
    formatter = OneLineFormatter(
        f"%(asctime)s %(levelname)s {process_name}[%(process)d] %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ"
    )
    formatter.converter = time.gmtime
    return formatter
