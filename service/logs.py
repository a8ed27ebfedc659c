"""Logging to standard error and to one rotating file per process in FANIN_HOME/logs."""

from __future__ import annotations

import logging
import sys
import time
from logging.handlers import RotatingFileHandler

from service.settings import Settings

FILE_BYTES = 5 * 2**20
FILES_KEPT = 3


def set_up_logging(settings: Settings, process_name: str) -> None:
    """Log to standard error and to FANIN_HOME/logs/<process_name>.log, with times in UTC."""
    formatter = logging.Formatter(
        f"%(asctime)s %(levelname)s {process_name}[%(process)d] %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ"
    )
    formatter.converter = time.gmtime
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
