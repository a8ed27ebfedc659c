"""Idempotency keys: a request with a key is carried out once, however often it is sent.

A key is claimed in the transaction that carries out its request. A second request with the same key waits in the
database for that commit and then reads the stored response. So a key is never taken while its response is unknown.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.errors import KeyReused
from service.store.engine import now, writing
from service.store.tables import idempotency_keys

LIFETIME_S = 24 * 3600.0


def claim(connection: Connection, key: str, fingerprint: str) -> dict[str, Any] | None:
    """Claim a key for this transaction and return None, or return the response that is stored under it.

    `fingerprint` identifies the request. Raises `KeyReused` if the key was used for another one.
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    claimed = dialect.insert(idempotency_keys).values(key=key, fingerprint=fingerprint, created_at=now())
    if connection.execute(claimed.on_conflict_do_nothing()).rowcount == 1:
        return None
    row = connection.execute(select(idempotency_keys).where(idempotency_keys.c.key == key)).one()
    if row.fingerprint != fingerprint:
        raise KeyReused(
            f"The Idempotency-Key {key!r} was used for another request.",
            "Send the same request again, or a new key for a new one.",
        )
    answer: dict[str, Any] = row.answer
    return answer


def keep_answer(connection: Connection, key: str, answer: dict[str, Any]) -> None:
    """Store the response under a key, in the transaction that claimed it."""
    change = update(idempotency_keys).where(idempotency_keys.c.key == key)
    connection.execute(change.values(answer=answer))


def forget_old_keys(engine: Engine) -> int:
    """Delete keys older than a day and return how many there were."""
    with writing(engine) as connection:
        old = delete(idempotency_keys).where(idempotency_keys.c.created_at < now() - LIFETIME_S)
        return connection.execute(old).rowcount
