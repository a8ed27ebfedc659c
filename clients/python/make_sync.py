"""Write `fanin/_sync` from `fanin/_async`: `python clients/python/make_sync.py`.

The synchronous client is the asynchronous one without its words: what is written, tested and corrected once is right
in both. It needs ruff, which sorts the imports and formats.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).parent / "fanin"
SOURCE, TARGET = PACKAGE / "_async", PACKAGE / "_sync"
WORDS = (
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\bAsyncGenerator\[Event, None\]", "Generator[Event, None, None]"),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\baclosing\b", "closing"),
    (r"\bAwaitable\[Thing\]", "Thing"),
    (r"import Awaitable, Callable", "import Callable"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\bhttpx\.AsyncClient\b", "httpx.Client"),
    (r"\bAsync([A-Z]\w+)", r"\1"),
    (r"\b_async\b", "_sync"),
    (r"\banyio\b", "time"),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\b__aiter__\b", "__iter__"),
    (r"\baiter_raw\b", "iter_raw"),
    (r"\baclose\b", "close"),
    (r"\baread\b", "read"),
)
HEADS = {
    "__init__.py": '"""The synchronous client. Written from `fanin._async` by `make_sync.py`: do not edit."""\n',
}


def main() -> None:
    """Write the folder."""
    TARGET.mkdir(exist_ok=True)
    for name, text in written().items():
        (TARGET / name).write_text(text)


def written() -> Mapping[str, str]:
    """Return the files of the folder by name."""
    return {path.name: HEADS.get(path.name) or _sync(path.read_text()) for path in sorted(SOURCE.glob("*.py"))}


def _sync(text: str) -> str:
    for pattern, words in WORDS:
        text = re.sub(pattern, words, text)
    for command in (["check", "--select", "I", "--fix-only", "--quiet"], ["format", "--quiet"]):
        arguments = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(TARGET / "any.py"), "-"]
        text = subprocess.run(arguments, input=text, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return text


if __name__ == "__main__":
    main()
