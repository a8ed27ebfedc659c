"""Choose a representation by the header Accept (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

WEIGHT = re.compile(r"q\s*=\s*([01](?:\.[0-9]{0,3})?)", re.IGNORECASE)
MAX_RANGES = 50


@lru_cache(maxsize=256)
def chosen(accept: str, offers: Sequence[str]) -> str:
    """Return the media type of `offers` (a tuple) with the highest weight; of equal ones the first.

    The most specific range decides on the weight of an offer. Where nothing is acceptable, the first one is returned: a
    client is served better by an answer that it did not ask for than by none (RFC 9110 allows both).
    """
    ranges = [_range(part) for part in accept.split(",")[:MAX_RANGES] if part.strip()]
    if not ranges:
        return offers[0]
    weights = [_weight(offer, ranges) for offer in offers]
    return offers[weights.index(max(weights))]


def prefers(accept: str, wanted: str, over: str) -> bool:
    """Return whether a media type is preferred to the one that is answered by default."""
    return chosen(accept, (over, wanted)) == wanted


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a header Accept-Encoding takes gzip: by name or by `*`, and not with weight 0 (12.5.3)."""
    weights = dict(_range(part) for part in accept_encoding.split(",")[:MAX_RANGES])
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _range(part: str) -> tuple[str, float]:
    name, _, parameters = part.partition(";")
    found = WEIGHT.search(parameters)
    return name.strip().lower(), min(float(found[1]), 1.0) if found else 1.0


def _weight(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    for name in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        weights = [weight for of, weight in ranges if of == name]
        if weights:
            return max(weights)
    return 0.0
