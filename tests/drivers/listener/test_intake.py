"""From clients to deliveries: what one delivery carries stays within what a source takes."""

from __future__ import annotations

import socket

import pytest

from drivers.batch import check_size
from drivers.contract import new_counters
from drivers.listener.client import Client
from drivers.listener.intake import Intake
from drivers.listener.labels import Labels
from drivers.listener.packets import read_connect
from drivers.listener.peer import Peer
from drivers.listener.protocol import Connection, Limits
from drivers.listener.run import Run
from drivers.listener.session import MAX_INFLIGHT
from drivers.listener.sessions import Sessions
from tests.drivers.listener.wire import connect

MANY = 600


@pytest.mark.long
def test_the_sessions_of_many_clients_go_in_several_deliveries() -> None:
    labels = Labels(lambda topic: ("s", "k"))
    connection = Connection(Limits(1 << 20, MAX_INFLIGHT), labels)
    sessions = Sessions({}, 0, max_inflight=MAX_INFLIGHT)
    intake = Intake(sessions, new_counters(), lambda: 0, lambda client, reason, what: None, lambda stream: True)
    ids = list(range(1, MAX_INFLIGHT + 1))
    with socket.socket() as sock:
        for number in range(MANY):
            asked = read_connect(connect(f"c{number}", flags=0)[2:])
            client = Client(Peer(sock, "here", connection, 0), asked, lambda topic: True, {})
            client.session, _ = sessions.connect(asked.client_id, clean_start=False, expiry_s=60)
            client.session.received(Run(labels.get(b"t"), 1, False, False, [b""] * MAX_INFLIGHT, ids, 0))
            intake.take(client, [Run(labels.get(b"t"), 1, False, False, [b""], [1], 0)])
        sessions.parts()
        parts: set[str] = set()
        events = deliveries = 0
        while events < MANY:
            delivery, _ = intake.delivery()
            assert delivery is not None
            check_size(delivery)
            events += delivery.events
            parts |= delivery.parts.keys()
            deliveries += 1
            intake.durable(delivery)
    assert len(parts) == MANY
    assert deliveries > 1
