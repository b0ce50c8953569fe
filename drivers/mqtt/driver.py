"""The MQTT driver: one connection, what it received, what was acknowledged, and what may come again."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from drivers.contract import Delivery, DeviceLostError, DriverError, Shape, SourceSettings, new_counters
from drivers.mqtt.config import MqttConfig, check, parse_broker, read_password
from drivers.mqtt.connection import Connection, Incoming
from drivers.mqtt.redelivery import DIGEST_BYTES, Redelivery, SessionState, Verdict
from drivers.template import Router
from drivers.waking import Waker
from storage.clock import Clock
from storage.model import Append, Frame, Headers

ASK_AFTER_ACKS = 500
ASK_AFTER_S = 0.1
SETTLE_AFTER_S = 2.0
"""Proofs are committed with the next data, or alone after this long without any."""
RESENT_WITHIN_S = 30.0
"""What the broker has not sent again so long after the connection, it holds our PUBACK for."""
SUBSCRIBED_WITHIN_S = 30.0
NEVER_SUBSCRIBED = "edge-appliance/no-topic/{client_id}"

_log = logging.getLogger(__name__)


@dataclass
class _Receipt:
    """Messages of one poll that are acknowledged together, once `ready`, in the order in which they came."""

    packet_ids: list[int] = field(default_factory=list)
    ready: bool = False


class MqttDriver:
    """Subscribes at a broker. See the package docstring."""

    Config = MqttConfig
    shape: ClassVar[Shape] = Shape.ACKNOWLEDGED
    pushback: ClassVar[str] = "acknowledges nothing; the broker keeps the messages and sends them later"
    waits_in_poll: ClassVar[bool] = True

    def __init__(self, config: MqttConfig, settings: SourceSettings, clock: Clock) -> None:
        check(config, settings.name)
        self._config = config
        self._settings = settings
        self._clock = clock
        self._broker = parse_broker(config.broker, settings.name)
        self._router = Router(settings.stream, settings.key or settings.name, settings.name)
        self._client_id = config.client_id or f"edge-{settings.node}-{settings.name}"
        self._connection: Connection | None = None
        self._waker = Waker()
        self._redelivery = Redelivery()
        self._session = f"{self._broker.host}:{self._broker.port}/{self._client_id}"
        self._topics: tuple[str, ...] = ()
        self._asked_for: list[str] = []
        self._subscription: int | None = None
        self._question: int | None = None
        self._receipts: deque[_Receipt] = deque()
        self._unacknowledged = 0
        self._opened_s = 0.0
        self._asked_s = 0.0
        self._received_s = 0.0
        self._unsettled = False
        self._resubscribed = False
        self._counters = new_counters()

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters

    # The contract

    def open(self, state: bytes | None) -> None:
        config = self._config
        before = SessionState(self._session) if state is None else SessionState.from_bytes(state)
        password = read_password(config.password_file, self._settings.name) if config.password_file else None
        connection = self._connection = Connection(config, self._broker, self._client_id, self._waker)
        try:
            connection.open(password, self._now_s)
        except DeviceLostError as error:
            raise DeviceLostError(f"source {self._settings.name}: {error}") from error
        if not connection.session_present or before.session != self._session:
            before = SessionState(self._session)
        self._redelivery = Redelivery(before.candidates)
        self._opened_s = self._received_s = self._now_s()
        self._subscribe(connection, before.topics)

    def poll(self, timeout_s: float) -> Delivery | None:
        connection = self._opened()
        # Under 3.1.1 nothing but not reading keeps the broker from sending on.
        connection.exchange(timeout_s, self._config.max_unacked - self._unacknowledged)
        incoming = connection.take_incoming()
        self._note_answers(connection)
        delivery = self._delivery(incoming) if incoming else self._settled()
        self._write_acknowledgements(connection)
        return delivery

    def ack(self, delivery: Delivery) -> None:
        receipt = delivery.token
        if not isinstance(receipt, _Receipt):
            raise DriverError(f"source {self._settings.name}: a delivery that this driver did not make")
        receipt.ready = True
        self._write_acknowledgements(self._opened())

    def interrupt(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._waker.close()

    # Subscribing

    def _subscribe(self, connection: Connection, subscribed: Sequence[str]) -> None:
        """Under 3.1.1 only what is not subscribed yet: a second SUBSCRIBE would bring the retained messages again. Under 5 all of
        it: a broker that was killed may have saved the session and not its subscriptions."""
        self._topics = tuple(topic for topic in subscribed if topic in self._config.topics)
        gone = [topic for topic in subscribed if topic not in self._config.topics]
        if gone:
            connection.unsubscribe(gone)
        known = () if self._config.protocol == "5" else self._topics
        self._asked_for = [topic for topic in self._config.topics if topic not in known]
        if self._asked_for:
            self._subscription = connection.subscribe(self._asked_for)
        self._resubscribed = bool(gone) and not self._asked_for

    def _note_answers(self, connection: Connection) -> None:
        if self._subscription is not None:
            reasons = connection.granted.pop(self._subscription, None)
            if reasons is not None:
                self._note_subscription([reason.value for reason in reasons])
            elif self._now_s() - self._opened_s > SUBSCRIBED_WITHIN_S:
                raise DeviceLostError(
                    f"source {self._settings.name}: {self._broker} did not answer the subscription: check its log"
                )
        if self._question is not None and self._question in connection.answered:
            connection.answered.clear()
            self._question = None
            self._unsettled |= self._redelivery.answered()

    def _note_subscription(self, granted: Sequence[int]) -> None:
        asked_for = self._asked_for
        refused = [topic for topic, code in zip(asked_for, granted, strict=True) if code >= 0x80]
        if refused:
            raise DeviceLostError(
                f"source {self._settings.name}: {self._broker} refuses the subscription of {', '.join(refused)}: "
                "give this user access there; it is tried again by itself"
            )
        lowered = [topic for topic, code in zip(asked_for, granted, strict=True) if code < self._config.qos]
        if lowered:
            _log.warning(
                "source %s: %s grants QoS 0 only for %s: messages are lost when the connection is",
                self._settings.name,
                self._broker,
                ", ".join(lowered),
            )
        self._subscription = None
        self._resubscribed = self._topics != self._config.topics
        self._topics = self._config.topics

    # Receiving

    def _delivery(self, incoming: Sequence[Incoming]) -> Delivery | None:
        """What of `incoming` is to be stored. The rest is acknowledged in its turn."""
        self._received_s = self._now_s()
        captured_ns = self._clock.boot_ns()
        receipt = _Receipt()
        kept: list[Incoming] = []
        for message in incoming:
            if self._is_new(message, receipt) and self._is_within_limits(message):
                kept.append(message)
        if receipt.packet_ids:
            self._receipts.append(receipt)
            self._unacknowledged += len(receipt.packet_ids)
        if not kept:
            receipt.ready = True
            return None
        self._counters["good"] += len(kept)
        self._counters["bytes"] += sum(len(message.payload) for message in kept)
        return Delivery(self._appends(kept, captured_ns), self._state(), receipt)

    def _is_new(self, message: Incoming, receipt: _Receipt) -> bool:
        if not message.packet_id:
            return True
        verdict = self._redelivery.received(message.packet_id, message.dup, digest(message))
        if verdict is not Verdict.UNDER_WAY:
            receipt.packet_ids.append(message.packet_id)
        if verdict is not Verdict.NEW:
            self._counters["duplicates"] += 1
        return verdict is Verdict.NEW

    def _is_within_limits(self, message: Incoming) -> bool:
        if message.topic is None:
            self._counters["bad"] += 1
            _log.warning("source %s: a message whose topic is no UTF-8, left out", self._settings.name)
            return False
        size_bytes = len(message.payload) + sum(len(value) for _, value in message.properties)
        if size_bytes > self._config.max_message_bytes:
            self._counters["refused"] += 1
            _log.warning(
                "source %s: a message of %d bytes on %s, left out: max_message_bytes is %d",
                self._settings.name,
                size_bytes,
                message.topic,
                self._config.max_message_bytes,
            )
            return False
        return True

    def _appends(self, messages: Sequence[Incoming], captured_ns: int) -> list[Append]:
        """Neighbours on one topic with the same properties share a frame; each stream has one append."""
        frames: dict[str, list[Frame]] = {}
        run: list[bytes] = []
        alike: object = None
        for message in messages:
            assert message.topic is not None
            like = (message.topic, message.retain, message.content_type, message.properties)
            if like != alike:
                alike, run = like, []
                stream, key = self._router.route(message.topic)
                frames.setdefault(stream, []).append(
                    Frame(
                        run,
                        routing_key=key,
                        content_type=message.content_type or self._settings.content_type,
                        headers=_headers(message),
                        captured_ns=captured_ns,
                    )
                )
            run.append(message.payload)
        return [Append(stream, of_stream) for stream, of_stream in frames.items()]

    # Acknowledging, and proving that it arrived

    def _write_acknowledgements(self, connection: Connection) -> None:
        """In the order in which the messages came (MQTT 3.1.1, 4.6)."""
        while self._receipts and self._receipts[0].ready:
            packet_ids = self._receipts.popleft().packet_ids
            connection.acknowledge(packet_ids)
            self._redelivery.acknowledged(packet_ids)
            self._unacknowledged -= len(packet_ids)
        self._ask(connection)
        connection.write()

    def _ask(self, connection: Connection) -> None:
        """Ask for a proof, where there is something to prove and none is under way."""
        if self._question is not None:
            return
        now_s = self._now_s()
        resent = now_s - self._opened_s >= RESENT_WITHIN_S
        unproved = self._redelivery.unproved + (self._redelivery.left_from_earlier if resent else 0)
        if unproved >= ASK_AFTER_ACKS or (unproved and now_s - self._asked_s >= ASK_AFTER_S):
            self._asked_s = now_s
            self._redelivery.ask(resent=resent)
            self._question = connection.unsubscribe([NEVER_SUBSCRIBED.format(client_id=self._client_id)])

    def _settled(self) -> Delivery | None:
        """The state alone, where it has changed and no data has come to carry it."""
        quiet = self._now_s() - self._received_s >= SETTLE_AFTER_S
        if not self._resubscribed and not (self._unsettled and quiet):
            return None
        return Delivery((), self._state(), _Receipt())

    def _state(self) -> bytes:
        self._unsettled = self._resubscribed = False
        return SessionState(self._session, self._topics, self._redelivery.candidates()).to_bytes()

    def _opened(self) -> Connection:
        assert self._connection is not None, "poll before open"
        return self._connection

    def _now_s(self) -> float:
        return self._clock.boot_ns() / 1e9


def digest(message: Incoming) -> bytes:
    """Topic, payload and properties, each behind its length."""
    made = hashlib.blake2b(digest_size=DIGEST_BYTES)
    topic = b"" if message.topic is None else message.topic.encode()
    pieces = [topic, message.payload, message.content_type.encode()]
    for name, value in message.properties:
        pieces += [name.encode(), value]
    for piece in pieces:
        made.update(b"%d:" % len(piece))
        made.update(piece)
    return made.digest()


def _headers(message: Incoming) -> Headers:
    headers = [("mqtt.topic", (message.topic or "").encode())]
    if message.retain:
        headers.append(("mqtt.retain", b"1"))
    headers += [(f"mqtt.{name}", value) for name, value in message.properties]
    return tuple(headers)
