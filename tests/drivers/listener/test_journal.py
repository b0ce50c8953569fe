"""What the listener writes into the log about its clients."""

from __future__ import annotations

import pytest

from drivers.listener import ListenerConfig
from drivers.listener.driver import TOLD_PER_S
from tests.drivers.listener.clients import Listening, Raw

SENDERS = 10 * TOLD_PER_S


@pytest.mark.long
def test_whoever_sends_rubbish_does_not_fill_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Listening(ListenerConfig(listen="127.0.0.1:0")) as listening:
        listening.step()
        senders = [Raw(listening) for _ in range(SENDERS)]
        for sender in senders:
            sender.send(b"\0rubbish")
        listening.until(lambda: listening.counter("malformed") == SENDERS, "the end of all")
        listening.until(lambda: "more were disconnected" in caplog.text, "what was not told")
    told = [record.message for record in caplog.records if "127.0.0.1" in record.message]
    assert TOLD_PER_S <= len(told) < SENDERS
    rest = [int(record.message.split()[2]) for record in caplog.records if "more were" in record.message]
    assert len(told) + sum(rest) == SENDERS
