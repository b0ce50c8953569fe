"""`python -m tests.drivers.subscriber_campaign.broken WHICH ARGUMENTS-OF-THE-NODE`: a gateway with one promise broken.

early         PUBACKs leave before the commit
forgetful     no candidates are committed
suspicious    every message that equals the one before it on its topic is taken for a redelivery
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from drivers.contract import Delivery
from drivers.mqtt.connection import Incoming
from drivers.mqtt.driver import MqttDriver, _Receipt, digest
from drivers.mqtt.redelivery import Redelivery
from tests.oracle.node import main


def answer_early() -> None:
    make = MqttDriver._delivery

    def ready_at_once(self: MqttDriver, incoming: Sequence[Incoming]) -> Delivery | None:
        delivery = make(self, incoming)
        for receipt in self._receipts:
            receipt.ready = True
        return delivery

    MqttDriver._delivery = ready_at_once  # type: ignore[method-assign]


def forget_candidates() -> None:
    Redelivery.candidates = lambda self: {}  # type: ignore[method-assign]


def suspect_equals() -> None:
    is_new = MqttDriver._is_new
    last: dict[str | None, bytes] = {}

    def is_unlike(self: MqttDriver, message: Incoming, receipt: _Receipt) -> bool:
        new = is_new(self, message, receipt)
        equal = last.get(message.topic) == digest(message)
        last[message.topic] = digest(message)
        return new and not equal

    MqttDriver._is_new = is_unlike  # type: ignore[method-assign]


BREAKS: dict[str, Callable[[], None]] = {
    "early": answer_early,
    "forgetful": forget_candidates,
    "suspicious": suspect_equals,
}


if __name__ == "__main__":
    BREAKS[sys.argv.pop(1)]()
    sys.exit(main())
