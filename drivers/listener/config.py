"""The MQTT listener's configuration, and what follows from it."""

from __future__ import annotations

import ssl
from dataclasses import field
from pathlib import Path

from drivers.addresses import host_and_port, is_loopback
from drivers.contract import MAX_PARTS, DriverConfigError, config
from drivers.listener.session import MAX_INFLIGHT
from storage.model import MAX_EVENT_BYTES
from storage.units import Duration, Size

MOST_CONNECTIONS = 50_000


@config
class ListenerConfig:
    """Takes MQTT publishers in: devices connect to the gateway itself, and what it acknowledges is on disk."""

    listen: str = "127.0.0.1:1883"
    """ADDRESS:PORT. An address that other machines reach needs `passwords` or `client_ca`, or `allow_anonymous`."""
    passwords: Path | None = None
    """File of users and their hashed passwords."""
    allow_anonymous: bool = False
    """Let in whoever connects, also without a user name. Without credentials configured, a loopback address does."""
    certificate: Path | None = None
    """Our certificate: with it only TLS is spoken."""
    certificate_key: Path | None = None
    """The private key of `certificate`."""
    client_ca: Path | None = None
    """Authorities that sign the devices' certificates: with it every device has to show one."""
    allow: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Topic filters that a user may publish on, by name; a user is one of `passwords` or a certificate's common name. "*" is
    for all others; {user} and {client} stand for themselves. Without an entry everybody may publish everything."""
    max_connections: int = 2_000
    """Publishers connected at a time. More are turned away."""
    max_packet_bytes: Size = Size(1 << 20)
    """A client that sends a larger packet is disconnected."""
    max_inflight: int = 100
    """Messages of one client that may wait for our answer: MQTT 5 is told (Receive Maximum). Above it we stop reading."""
    max_keepalive: Duration = Duration(3600)
    """A client that asks for a longer keep-alive, or none, is told this one (MQTT 5)."""
    max_sessions: int = 10_000
    """Sessions kept for clients that come back. Above it the one that has been away longest is forgotten."""
    session_expiry: Duration = Duration(30 * 86_400)
    """A session is kept at most so long after its client has gone."""


def check(config: ListenerConfig, source: str) -> None:
    """Raises DriverConfigError for what can't work, and says what to write instead."""
    try:
        host, _ = host_and_port(config.listen)
    except ValueError as error:
        raise DriverConfigError(f"source {source}: listen: {error}") from error
    credentials = config.passwords is not None or config.client_ca is not None
    if not credentials and not config.allow_anonymous and not is_loopback(host):
        raise DriverConfigError(
            f"source {source}: listen = {config.listen!r}: whoever reaches {host} could publish. Name a file of "
            "`passwords`, or a `client_ca` for devices with certificates, or say allow_anonymous = true"
        )
    if (config.certificate is None) != (config.certificate_key is None):
        raise DriverConfigError(f"source {source}: certificate and certificate_key belong together: give both or none")
    if config.client_ca is not None and config.certificate is None:
        raise DriverConfigError(f"source {source}: client_ca needs TLS: give certificate and certificate_key too")
    bounds = {
        "max_connections": (config.max_connections, 1, MOST_CONNECTIONS),
        "max_packet_bytes": (config.max_packet_bytes, 64, MAX_EVENT_BYTES),
        "max_inflight": (config.max_inflight, 1, MAX_INFLIGHT),
        "max_keepalive": (config.max_keepalive, 5, 65_535),
        "max_sessions": (config.max_sessions, 1, MAX_PARTS),
    }
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise DriverConfigError(f"source {source}: {name} = {value}: use {least} to {most}")


def tls_context(config: ListenerConfig, source: str) -> ssl.SSLContext | None:
    """For the server's side of each connection; None: no TLS. Raises DriverConfigError where a file can't be used."""
    if config.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.certificate, config.certificate_key)
        if config.client_ca is not None:
            context.load_verify_locations(config.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise DriverConfigError(
            f"source {source}: certificate, certificate_key or client_ca can't be used ({error}): PEM files that this user "
            "may read"
        ) from error
    return context
