from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import WrongSettings
from service.settings import Settings, is_loopback, read_settings


def test_defaults_are_those_of_the_documentation(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean_environment.chdir(tmp_path)
    settings = read_settings()
    assert settings.home == tmp_path / "var"
    assert settings.data_dir == tmp_path / "data"
    assert (settings.host, settings.port, settings.slots) == ("127.0.0.1", 8000, "auto")
    assert settings.sqlalchemy_url == f"sqlite:///{tmp_path}/var/fanin.sqlite"


def test_the_environment_is_read_and_arguments_win(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean_environment.setenv("FANIN_HOME", str(tmp_path))
    clean_environment.setenv("FANIN_PORT", "9000")
    clean_environment.setenv("FANIN_SLOTS", "2")
    clean_environment.setenv("FANIN_DATABASE_URL", "postgresql://me@db/fanin")
    settings = read_settings(port=9001, host=None)
    assert (settings.home, settings.port, settings.slots) == (tmp_path, 9001, 2)
    assert settings.sqlalchemy_url == "postgresql+psycopg://me@db/fanin"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("FANIN_PORT", "0", "FANIN_PORT: Input should be greater than or equal to 1"),
        ("FANIN_PORT", "http", "FANIN_PORT"),
        ("FANIN_SLOTS", "none", "FANIN_SLOTS"),
        ("FANIN_DATABASE_URL", "mysql://x", "FANIN_DATABASE_URL: use sqlite:///PATH or postgresql://"),
        ("FANIN_DATABASE_URL", "postgresql://u@h:abc/db", "FANIN_DATABASE_URL: use sqlite:///PATH"),
        ("FANIN_DATABASE_URL", "sqlite:///", "FANIN_DATABASE_URL: use sqlite:///PATH"),
        ("FANIN_DATABASE_URL", "sqlite:///:memory:", "FANIN_DATABASE_URL: use sqlite:///PATH"),
        ("FANIN_HOST", "0.0.0.0", "set FANIN_API_KEY, or pass --insecure"),
        ("FANIN_API_KEY", "                    ", "FANIN_API_KEY: the key must not begin or end with a space"),
        ("FANIN_API_KEY", "fifteen letters", "FANIN_API_KEY: the key must be at least 16 printable ASCII characters"),
        (
            "FANIN_API_KEY",
            "sixteen letters\u00e9",
            "FANIN_API_KEY: the key must be at least 16 printable ASCII characters",
        ),
        ("FANIN_CORS_ORIGINS", "lab.example.org", "FANIN_CORS_ORIGINS: 'lab.example.org' is not an origin"),
        ("FANIN_CORS_ORIGINS", "*", "FANIN_CORS_ORIGINS=* lets every website in: set FANIN_API_KEY"),
        ("FANIN_NODE", "a/b", "FANIN_NODE"),
        ("FANIN_ARTIFACTS_URL", "s3://", "use s3://BUCKET/PREFIX"),
        ("FANIN_ARTIFACTS_URL", "s3://key:secret@bucket/x", "use s3://BUCKET/PREFIX"),
        ("FANIN_ARTIFACTS_URL", "s3://bucket/x?signature=y", "use s3://BUCKET/PREFIX"),
        ("FANIN_ARTIFACTS_URL", "https://bucket.example.org/x", "use s3://BUCKET/PREFIX"),
        ("FANIN_ARTIFACTS_URL", "file://relative", "file:///PATH"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_it(
    name: str, value: str, says: str, clean_environment: pytest.MonkeyPatch
) -> None:
    clean_environment.setenv(name, value)
    with pytest.raises(WrongSettings) as caught:
        read_settings()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_beyond_loopback_a_key_or_a_word_is_enough(clean_environment: pytest.MonkeyPatch) -> None:
    assert read_settings(host="0.0.0.0", insecure=True).host == "0.0.0.0"
    assert read_settings(host="0.0.0.0", api_key="a secret of a test").api_key is not None


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://bucket/a/prefix/", "s3://bucket/a/prefix"),
        ("gs://bucket", "gs://bucket"),
        ("az://container/x", "az://container/x"),
        ("file:///srv/a%20folder", Path("/srv/a folder")),
    ],
)
def test_checkpoints_are_where_the_address_says_whatever_the_folder(
    url: str, place: str | Path, clean_environment: pytest.MonkeyPatch
) -> None:
    clean_environment.setenv("FANIN_ARTIFACTS_DIR", "/elsewhere")
    assert read_settings().artifacts_place == Path("/elsewhere")
    clean_environment.setenv("FANIN_ARTIFACTS_URL", url)
    assert read_settings().artifacts_place == place


def test_names_are_separated_by_commas(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("FANIN_ALLOWED_HOSTS", "lab.example.org, 10.0.0.5,")
    clean_environment.setenv("FANIN_CORS_ORIGINS", "https://lab.example.org,http://localhost:3000")
    settings = read_settings()
    assert settings.allowed_hosts == ("lab.example.org", "10.0.0.5")
    assert settings.cors_origins == ("https://lab.example.org", "http://localhost:3000")


def test_the_key_is_never_shown() -> None:
    assert "a secret" not in repr(Settings(api_key="a secret of a test"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("lab", False)],
)
def test_loopback_is_recognized(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
