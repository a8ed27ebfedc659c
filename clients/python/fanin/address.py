"""The address and the key of a service, checked before anything is sent."""

from __future__ import annotations

from ipaddress import ip_address

import httpx


def address_of(text: str) -> str:
    """Return the address of a service without a slash at its end. Raises `ValueError`, which shows no password."""
    text = text.strip()
    try:
        address = httpx.URL(text)
        address.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError):
        raise ValueError("The address of the service cannot be read; such as http://127.0.0.1:8000.") from None
    if address.userinfo:
        raise ValueError("The address of the service has a user or a password in it; the key is FANIN_API_KEY.")
    if address.scheme not in ("http", "https") or not address.host:
        raise ValueError(f"{text!r} is no address of a service; it begins with http:// or https://.")
    if address.query or address.fragment:
        raise ValueError(f"{text!r} has a query; the address of a service ends with its host or a path.")
    return str(address).rstrip("/")


def is_this_machine(address: str) -> bool:
    """Return whether an address is of this machine, which no proxy of the environment can reach."""
    host = httpx.URL(address).host
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def key_of(text: str | None) -> str | None:
    """Return a key; None without one. Raises `ValueError`, which does not show it."""
    key = (text or "").strip()
    if not key.isascii() or not key.isprintable():
        raise ValueError("The key of the service has characters that no key has; see FANIN_API_KEY.")
    return key or None
