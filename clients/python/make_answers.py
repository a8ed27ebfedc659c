"""Write `fanin/answers.py` from the service's OpenAPI document: `python clients/python/make_answers.py`."""

from __future__ import annotations

import json
import keyword
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "openapi" / "openapi.json"
TARGET = HERE / "fanin" / "answers.py"
SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
REFERENCE = re.compile(r'"#/components/schemas/(\w+)"')
WIDTH = 106
LINE = 120
MOST_ALTERNATIVES = 2
HEAD = '''"""The answers of the service, as `openapi.json` describes them. Written by `make_answers.py`: do not edit."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from fanin.record import Record
'''


def main() -> None:
    """Write the file."""
    TARGET.write_text(written(json.loads(DOCUMENT.read_text())))


def written(document: Mapping[str, Any]) -> str:
    """Return the module: one class for each schema that an answer can contain, but the pages of lists."""
    schemas = document["components"]["schemas"]
    names = sorted(name for name in _of_answers(document) if not name.startswith("Page_"))
    return HEAD + "".join(f"\n\n{_record(name, schemas[name])}" for name in names)


def _of_answers(document: Mapping[str, Any]) -> set[str]:
    schemas = document["components"]["schemas"]
    found: set[str] = set()
    waiting = [
        name
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if status.startswith("2")
        for name in REFERENCE.findall(json.dumps(answer))
    ]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            parts = schemas[name].get("properties", {}).values()
            waiting += [one for part in parts for one in REFERENCE.findall(json.dumps(part)) if not _is_wide(part)]
    return found


def _record(name: str, schema: Mapping[str, Any]) -> str:
    lines = [f"class {name}(Record):", *_text(schema.get("description") or f"{name}.")]
    for field, part in schema.get("properties", {}).items():
        if keyword.iskeyword(field):
            continue
        lines += ["", *_annotation(field, _kind(part))]
        if part.get("description"):
            lines += _text(part["description"])
    return "\n".join(lines) + "\n"


def _annotation(field: str, kind: str) -> list[str]:
    line = f"    {field}: {kind}"
    if len(line) <= LINE:
        return [line]
    assert kind.startswith("Literal["), kind
    return [f"    {field}: Literal[", *(f"        {one}," for one in kind[8:-1].split(", ")), "    ]"]


def _text(text: str) -> Iterator[str]:
    text = " ".join(text.split()).replace("\\", "\\\\")
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    if len(lines) == 1:
        yield f'    """{lines[0]}"""'
        return
    sentence, _, rest = text.partition(". ")
    if rest and len(sentence) < WIDTH:
        lines = [f"{sentence}.", "", *textwrap.wrap(rest, WIDTH, break_long_words=False, break_on_hyphens=False)]
    yield f'    """{lines[0]}'
    yield from (f"    {line}" if line else "" for line in lines[1:])
    yield '    """'


def _kind(part: Mapping[str, Any]) -> str:
    if "$ref" in part:
        return str(part["$ref"]).rsplit("/", 1)[-1]
    for key in ("anyOf", "oneOf"):
        if key in part:
            return _union([_kind(one) for one in part[key]])
    if "enum" in part:
        return f"Literal[{', '.join(json.dumps(one) if isinstance(one, str) else repr(one) for one in part['enum'])}]"
    if part.get("format") == "date-time":
        return "dt.datetime"
    if part.get("type") == "array":
        return f"list[{_kind(part['items'])}]" if "items" in part else "list[Any]"
    if part.get("type") == "object":
        values = part.get("additionalProperties")
        return f"dict[str, {_kind(values) if isinstance(values, dict) else 'Any'}]"
    return SIMPLE.get(str(part.get("type")), "Any")


def _is_wide(part: Mapping[str, Any]) -> bool:
    """Return whether a part is one of many records, such as the schemes, which are not told apart here."""
    return len(part.get("oneOf", part.get("anyOf", []))) > MOST_ALTERNATIVES


def _union(kinds: list[str]) -> str:
    if len(kinds) > MOST_ALTERNATIVES and "None" not in kinds:
        return "Record"
    if "Any" in kinds:
        return "Any"
    return " | ".join(dict.fromkeys(kinds))


if __name__ == "__main__":
    main()
