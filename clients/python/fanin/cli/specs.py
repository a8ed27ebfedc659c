"""The body of a job from what is typed: a field of a part, such as architecture.inputs, leaves the rest of the part."""

from __future__ import annotations

from typing import Any

from fanin import Client

KINDS = {"init": "scheme", "optimizer": "name"}
"""The field of a part that says which other fields it has."""


def completed(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    """Return a body whose parts have the other fields of its preset.

    The service takes a part as a whole, so that architecture.inputs alone would also reset the preset's layers. A part
    of another kind than the preset's keeps its own defaults; an optimizer without a name is Adam.
    """
    parts = {name: body[name] for name in ("architecture", *KINDS) if isinstance(body.get(name), dict)}
    found = dict(body)
    if "preset" in body and parts:
        of_preset = client.jobs.validate({"preset": body["preset"]}).spec.to_dict()
        for name, part in parts.items():
            kind, before = KINDS.get(name), of_preset[name]
            if kind is None or part.get(kind, before[kind]) == before[kind]:
                found[name] = {**before, **part}
    if "optimizer" in parts:
        found["optimizer"] = {"name": "adam", **found["optimizer"]}  # `--set optimizer.lr=0.01` alone
    return found
