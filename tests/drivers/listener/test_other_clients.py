"""Clients that others wrote publish to the listener: everything arrives once, in order, whatever version and QoS."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.listener import ListenerConfig
from tests.drivers.listener.clients import Listening
from tests.servers.publishers import Publishing, available

TLS = Path(__file__).parents[2] / "sync" / "tls"
LINES = [b"%d: %s" % (number, b"x" * (number % 200)) for number in range(300)]


@pytest.fixture(params=[False, True], ids=["plain", "tls"], scope="module")
def encrypted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def listening(encrypted: bool) -> Iterator[Listening]:
    certificate, key = (TLS / "hub.pem", TLS / "hub.key") if encrypted else (None, None)
    with Listening(ListenerConfig(listen="127.0.0.1:0", certificate=certificate, certificate_key=key)) as running:
        yield running


@pytest.mark.long  # each is short, but there are many
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("client", available())
def test_all_that_it_publishes_arrives_once(
    listening: Listening, encrypted: bool, client: str, version: str, qos: int, tmp_path: Path
) -> None:
    topic = f"site/{client}/{version}/{qos}"
    ca = TLS / "ca.pem" if encrypted else None
    command, environment = available()[client](Publishing(listening.port, version, qos, topic, ca))
    lines = tmp_path / "lines"
    lines.write_bytes(b"".join(line + b"\n" for line in LINES))
    with (
        lines.open("rb") as given,
        subprocess.Popen(command, env=environment, stdin=given, stderr=subprocess.PIPE) as publisher,
    ):
        listening.until(lambda: publisher.poll() is not None, "the end of the publisher")
        said = publisher.communicate()[1].decode()
    assert publisher.returncode == 0, said

    def arrived() -> list[bytes]:
        return [event.payload for event in listening.sink.events if event.routing_key == topic]

    listening.until(lambda: len(arrived()) >= len(LINES), "all messages")
    assert arrived() == LINES
