"""The settings of the service; each is an environment variable with the prefix `FANIN_`."""

from __future__ import annotations

import ipaddress
import platform
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from service.errors import WrongSettings

LEAST_KEY_LENGTH = 16
FILE_URL = "file://"
STORAGE = re.compile(r"(?:s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(?:/[A-Za-z0-9._=/-]{0,500})?|file:///[^?#]+")
ORIGIN = re.compile(r"https?://[^/\s,]+")


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A tuple of names; in an environment variable they are separated by commas."""


class Settings(BaseSettings):
    """Settings of every process of the service; a process with an invalid value refuses to start."""

    model_config = SettingsConfigDict(env_prefix="FANIN_", frozen=True, extra="forbid", env_ignore_empty=True)

    home: Path = Field(Path("var"), description="Folder of the database, the checkpoints and the logs.")
    data_dir: Path = Field(Path("data"), description="Folder of MNIST, in the layout of torchvision.")
    host: str = Field("127.0.0.1", description="Address to listen on; beyond loopback FANIN_API_KEY is required.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    artifacts_dir: Path | None = Field(
        None, description="Folder of the checkpoints, shared by all machines. Default: `artifacts` in FANIN_HOME."
    )
    artifacts_url: str | None = Field(
        None,
        description="Object storage of the checkpoints: s3://BUCKET/PREFIX, gs://, az://; or file:///PATH. Precedes "
        "FANIN_ARTIFACTS_DIR. Credentials and endpoint are those of the provider's tools, such as AWS_ACCESS_KEY_ID.",
    )
    slots: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        "auto", description="Worker processes of this machine: a number, or auto: one per GPU, or else one on the CPU."
    )
    slot_threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        "auto", description="CPU threads of a worker: a number, or auto: the cores divided by the slots."
    )
    cpu_niceness: int = Field(
        10,
        ge=0,
        le=19,
        description="Nice value that a worker on the CPU adds to its parent's; 0: an equal share.",
    )
    api_processes: int = Field(1, ge=1, le=64, description="API processes of `fanin serve`, which share the port.")
    worker_ttl_s: float = Field(
        20.0, ge=1, le=3600, description="Seconds without a heartbeat until a worker is dead and its runs are requeued."
    )
    stall_limit_s: float = Field(
        600.0, ge=1, description="Seconds without a training step after which a worker process restarts."
    )
    max_queued: int = Field(10_000, ge=1, description="Most queued jobs; beyond that, POST /jobs returns 503.")
    max_job_bytes: int = Field(
        16 * 2**30, ge=2**20, description="Largest accepted estimate of a job's memory, in bytes."
    )
    max_job_seconds: float = Field(
        7 * 24 * 3600.0, gt=0, description="Largest accepted estimate of a job's time, in seconds."
    )
    max_checkpoint_bytes: int = Field(
        64 * 2**30, ge=2**20, description="Largest accepted estimate of the checkpoints of a job, in bytes."
    )
    jobs_per_run: int = Field(
        64,
        ge=1,
        le=1024,
        description="Most jobs of an experiment that a GPU trains concurrently; fewer if they would need more than "
        "4 GiB. On a CPU up to 8 take turns.",
    )
    keep_checkpoints: Literal["all"] | Annotated[int, Field(ge=2)] = Field(
        "all", description="Number of newest checkpoints kept per job (at least 2: one to fall back to), or all."
    )
    retain_days: float | None = Field(
        None, gt=0, description="Days that an ended job is kept; not one with an alias or in an experiment."
    )
    retain_jobs: int | None = Field(None, ge=0, description="Number of ended jobs that are kept, the newest ones.")
    retain_bytes: int | None = Field(
        None,
        ge=0,
        description="Size of all checkpoints, beyond which the oldest ended jobs are deleted; a kept optimizer's state "
        "counts as twice its weights.",
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL of the database. Default: SQLite in FANIN_HOME.")
    api_key: SecretStr | None = Field(
        None, description="If set, requests need `Authorization: Bearer <key>`; not health checks, page and docs."
    )
    allowed_hosts: Names = Field(
        (), description="Host names, separated by commas, that are served without a key, beside loopback names; *: all."
    )
    cors_origins: Names = Field(
        (),
        description="Origins, separated by commas, whose pages may use the API, such as https://lab.example.org; *: "
        "all, only with a key.",
    )
    insecure: bool = Field(False, description="Allow listening beyond loopback without a key.")
    node: str = Field(
        default_factory=lambda: platform.node() or "localhost",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="Name of this machine; unique, and the same after restarts. Default: the host name.",
    )
    max_body_bytes: int = Field(16 * 2**20, ge=1024, description="Largest request body, in bytes.")
    max_connections: int = Field(
        1000, ge=1, le=100_000, description="Most connections of an API process; fewer if it may open fewer files."
    )
    max_streams: int = Field(500, ge=1, description="Most event streams of an API process.")
    predictor_cache_bytes: int = Field(256 * 2**20, ge=0, description="Memory for models per API process, in bytes.")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="Lines of text, or of JSON; auto: text if standard error is a terminal, else JSON."
    )
    access_log: bool = Field(False, description="Log a line for each request.")
    build: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._+:/@-]{1,100}$", description="Name of this build, which GET /readyz shows."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")

    @field_validator("home", "data_dir", "artifacts_dir")
    @classmethod
    def _absolute(cls, folder: Path | None) -> Path | None:
        return None if folder is None else folder.expanduser().absolute()

    @field_validator("artifacts_url")
    @classmethod
    def _names_a_bucket(cls, url: str | None) -> str | None:
        if url is not None and not STORAGE.fullmatch(url):
            raise ValueError("use s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///PATH")
        return None if url is None else url.rstrip("/")

    @field_validator("api_key")
    @classmethod
    def _key_cannot_be_guessed(cls, key: SecretStr | None) -> SecretStr | None:
        text = "" if key is None else key.get_secret_value()
        if key is not None and not (len(text) >= LEAST_KEY_LENGTH and text.isascii() and text.isprintable()):
            raise ValueError(
                f"the key must be at least {LEAST_KEY_LENGTH} printable ASCII characters; "
                "make one: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        if key is not None and text != text.strip():
            raise ValueError("the key must not begin or end with a space")
        return key

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is not an origin such as https://lab.example.org (no path, no slash)")
        return origins

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str | None) -> str | None:
        if url is None:
            return url
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            parsed = None
        is_file = parsed is not None and parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:")
        is_server = parsed is not None and parsed.drivername in ("postgresql", "postgresql+psycopg")
        if not is_file and not is_server:
            raise ValueError("use sqlite:///PATH or postgresql://USER@HOST/DATABASE")
        return url

    @model_validator(mode="after")
    def _beyond_loopback_needs_a_key(self) -> Self:
        if self.api_key is None and not self.insecure and not is_loopback(self.host):
            raise ValueError(
                f"other machines can reach {self.host}: set FANIN_API_KEY, or pass --insecure (FANIN_INSECURE=true)"
            )
        return self

    @model_validator(mode="after")
    def _all_origins_need_a_key(self) -> Self:
        if self.api_key is None and "*" in self.cors_origins:
            raise ValueError("FANIN_CORS_ORIGINS=* lets every website in: set FANIN_API_KEY, or name origins")
        return self

    @property
    def sqlalchemy_url(self) -> str:
        """Return the URL of the database with its driver."""
        if self.database_url is None:
            return f"sqlite:///{self.home / 'fanin.sqlite'}"
        return self.database_url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def artifacts_folder(self) -> Path:
        """Return the folder of the checkpoints, if they are in a folder."""
        if self.artifacts_url is not None and self.artifacts_url.startswith(FILE_URL):
            return Path(unquote(self.artifacts_url.removeprefix(FILE_URL)))
        return self.artifacts_dir or self.home / "artifacts"

    @property
    def artifacts_place(self) -> str | Path:
        """Return the address of the object storage of the checkpoints, or their folder."""
        if self.artifacts_url is None or self.artifacts_url.startswith(FILE_URL):
            return self.artifacts_folder
        return self.artifacts_url

    @property
    def checkpoints_kept(self) -> int | None:
        """Return the number of checkpoints kept per job; None means all."""
        return None if self.keep_checkpoints == "all" else self.keep_checkpoints


def is_loopback(host: str) -> bool:
    """Return whether `host` is a loopback address, reachable only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(**overrides: object) -> Settings:
    """Return the settings of the environment; `overrides` that are not None take precedence.

    Raises `WrongSettings` with one line that names each invalid variable.
    """
    values = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise WrongSettings(
            "; ".join(_validation_message(problem["loc"], problem["msg"]) for problem in error.errors())
        ) from None


def _validation_message(location: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    return f"FANIN_{str(location[0]).upper()}: {text}" if location else text
