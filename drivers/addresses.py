"""Addresses to listen at, as the configuration writes them."""

from __future__ import annotations

import ipaddress


def host_and_port(text: str) -> tuple[str, int]:
    """`"0.0.0.0:7443"`, `"[::1]:7443"`. Raises ValueError with an example."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f'"{text}" is no address: write ADDRESS:PORT, such as "0.0.0.0:7443" or "[::1]:7443"')
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether what goes to `host` stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
