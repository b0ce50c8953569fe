"""One connection to a broker: paho-mqtt driven from our own steps, its errors translated here.

paho's own loop handles one packet and then selects again, and its thread would be one below the daemon. So `wait` selects,
`_read` takes packets until none is left, and acknowledgements are queued and written together.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from drivers.contract import DeviceLostError
from drivers.mqtt.config import Broker, MqttConfig
from drivers.waking import Waker

CONNECT_TIMEOUT_S = 5.0
MESSAGES_PER_READ = 1_000
BYTES_PER_READ = 4 << 20
SESSION_NEVER_EXPIRES = 0xFFFFFFFF
_OF_ANOTHER_NAME = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A PUBLISH. `topic` is None where its bytes are no UTF-8. `packet_id` is 0 at QoS 0."""

    topic: str | None
    payload: bytes
    packet_id: int
    dup: bool
    retain: bool
    content_type: str
    properties: tuple[tuple[str, bytes], ...]
    """`response_topic`, `correlation_data`, and each user property as `user.NAME`."""


class Connection:
    """Used from one thread. After a DeviceLostError it is only good for `close`."""

    def __init__(self, config: MqttConfig, broker: Broker, client_id: str, waker: Waker) -> None:
        """`waker` ends a wait in `exchange`."""
        self._config = config
        self._broker = broker
        self._is_v5 = config.protocol == "5"
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if self._is_v5 else False,
            protocol=MQTTProtocolVersion.MQTTv5 if self._is_v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._client_id = client_id
        self._waker = waker
        self._incoming: list[Incoming] = []
        self._incoming_bytes = 0
        self._packets = 0
        self._connected = False
        self._refused: ReasonCode | None = None
        self._lost: ReasonCode | None = None
        self.session_present = False
        self.granted: dict[int, list[ReasonCode]] = {}
        """SUBACKs that came, by packet id."""
        self.answered: set[int] = set()
        """UNSUBACKs that came, by packet id."""
        client = self._client
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.on_message = self._on_message
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        # With this callback set, paho queues what it has to write until loop_write.
        client.on_socket_register_write = self._on_wants_write

    def open(self, password: str | None, now_s: Callable[[], float]) -> None:
        """Connect, and wait for the broker's answer. Raises DeviceLostError with what to do."""
        try:
            self._connect(password)
        except (OSError, ValueError) as error:
            raise DeviceLostError(f"{self._broker} can't be reached ({error}): {self._remedy(error)}") from error
        deadline_s = now_s() + CONNECT_TIMEOUT_S
        while not self._connected:
            left_s = deadline_s - now_s()
            if left_s <= 0:
                raise DeviceLostError(f"{self._broker} does not answer: is it an MQTT broker that listens there?")
            try:
                self.exchange(left_s)
            except DeviceLostError as error:
                if self._refused is not None:
                    raise
                raise DeviceLostError(f"{self._broker} hung up without an answer: {self._stranger_remedy()}") from error

    def exchange(self, timeout_s: float, max_messages: int = MESSAGES_PER_READ) -> None:
        """Write what is queued, wait for packets, and read those that are there. With 0 messages, read nothing."""
        read = max_messages > 0
        sock = self._client.socket()
        if sock is None:
            raise self._lost_error("the connection is closed")
        self.write()
        ready = self._pending(sock) if read else False
        if not ready:
            happened = self._wait(sock.fileno(), read, timeout_s)
            ready = read and bool(happened & ~select.POLLOUT)
            if happened & ~select.POLLIN:
                self.write()
        if ready:
            self._read(min(max_messages, MESSAGES_PER_READ))
        self._check(self._client.loop_misc())

    def _wait(self, descriptor: int, read: bool, timeout_s: float) -> int:
        """What the socket is ready for, or 0."""
        # select() takes no descriptor above 1,023, and this process may have as many connections.
        waiting = select.poll()
        writes = select.POLLOUT if self._client.want_write() else 0
        waiting.register(self._waker, select.POLLIN)
        try:
            if read or writes:
                waiting.register(descriptor, (select.POLLIN if read else 0) | writes)
            ready = dict(waiting.poll(timeout_s * 1000))
        except (OSError, ValueError) as error:
            raise self._lost_error(str(error)) from error
        if self._waker.fileno() in ready:
            self._waker.drain()
        return ready.get(descriptor, 0)

    def take_incoming(self) -> list[Incoming]:
        """The messages read since the last call, in order."""
        incoming, self._incoming = self._incoming, []
        self._incoming_bytes = 0
        return incoming

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Queue PUBACKs; `write` sends them."""
        for packet_id in packet_ids:
            self._client.ack(packet_id, 1)

    def write(self) -> None:
        """Write what is queued, as far as the socket takes it."""
        if not self._client.want_write():
            return
        sock = self._client.socket()
        self._cork(sock, True)
        rc = self._client.loop_write()
        self._cork(sock, False)
        self._check(rc)

    def subscribe(self, topics: Sequence[str]) -> int:
        """Returns the packet id whose answer will be in `granted`."""
        if self._is_v5:
            options = SubscribeOptions(qos=self._config.qos, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            rc, packet_id = self._client.subscribe([(topic, options) for topic in topics])
        else:
            rc, packet_id = self._client.subscribe([(topic, int(self._config.qos)) for topic in topics])
        self._check(rc)
        assert packet_id is not None
        return packet_id

    def unsubscribe(self, topics: Sequence[str]) -> int:
        """Returns the packet id that will be in `answered`."""
        rc, packet_id = self._client.unsubscribe(list(topics))
        self._check(rc)
        assert packet_id is not None
        return packet_id

    def close(self) -> None:
        """Say goodbye, if anybody listens. The session stays at the broker."""
        try:
            if self._client.socket() is not None:
                self._client.disconnect()
                self._client.loop_write()
        except (OSError, ValueError):
            return

    def _connect(self, password: str | None) -> None:
        config, broker, client = self._config, self._broker, self._client
        if broker.username is not None:
            client.username_pw_set(broker.username, password if password is not None else broker.password)
        if broker.tls:
            self._use_tls()
        keepalive_s = int(config.keepalive)
        if self._is_v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_NEVER_EXPIRES
            properties.ReceiveMaximum = config.max_unacked
            client.connect(broker.host, broker.port, keepalive_s, clean_start=False, properties=properties)
        else:
            client.connect(broker.host, broker.port, keepalive_s)

    def _use_tls(self) -> None:
        config = self._config
        files = [path for path in (config.ca, config.certificate, config.certificate_key) if path]
        for path in files:
            # The library's errors do not say which.
            Path(path).open("rb").close()
        try:
            self._client.tls_set(config.ca or None, config.certificate or None, config.certificate_key or None)
        except ssl.SSLError as error:
            raise DeviceLostError(
                f"{', '.join(files)} can't be used for {self._broker} ({error}): write ca, certificate and certificate_key "
                "as PEM, and the key that belongs to the certificate"
            ) from error

    def _read(self, max_messages: int) -> None:
        """Take packets until none is left, or enough for one delivery."""
        while len(self._incoming) < max_messages and self._incoming_bytes < BYTES_PER_READ:
            before = self._packets
            self._check(self._client.loop_read())
            if self._packets == before:
                return

    @staticmethod
    def _pending(sock: object) -> bool:
        """TLS holds back what it has decrypted already, and select does not see it."""
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    @staticmethod
    def _cork(sock: object, on: bool) -> None:
        """Small acknowledgements leave as one segment: Linux holds them back until the cork is out (tcp(7))."""
        if isinstance(sock, socket.socket) and hasattr(socket, "TCP_CORK"):
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(on))
            except OSError:
                # Closed meanwhile: what was written says so.
                return

    def _check(self, rc: MQTTErrorCode) -> None:
        if self._refused is not None:
            raise DeviceLostError(
                f"{self._broker} refused {self._client_id}: {self._refused}: {self._refusal_remedy()}"
            )
        if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or self._lost is not None:
            raise self._lost_error(paho.error_string(rc))

    def _lost_error(self, why: str) -> DeviceLostError:
        if self._lost is not None:
            why = f"{why} {self._lost}" if str(self._lost) not in why else why
            if "taken over" in str(self._lost):
                why += f"; another client calls itself {self._client_id}: give each its own client_id"
        return DeviceLostError(f"the connection to {self._broker} was lost ({why}): it is opened again by itself")

    def _remedy(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code in _OF_ANOTHER_NAME:
                return "its certificate is for another name; write that name into `broker`"
            return "its certificate is not trusted; name the authority that signed it in `ca`"
        if isinstance(error, ssl.SSLError) or (self._broker.tls and isinstance(error, ConnectionResetError)):
            return "is TLS spoken there? check scheme and port of `broker`"
        if isinstance(error, FileNotFoundError | PermissionError):
            return "correct the path of ca, certificate or certificate_key, or who may read it"
        if isinstance(error, socket.gaierror):
            return "the name is not known; check it, and the network"
        return "is the broker running, and the network up? It is tried again by itself"

    def _stranger_remedy(self) -> str:
        """A broker that does not like what it hears before CONNECT closes the connection, and only its log says why."""
        if not self._broker.tls:
            return "it may expect TLS (mqtts://), or be no MQTT broker; its log says why"
        if not self._config.certificate:
            return "it may ask for a certificate: name ours in `certificate` and `certificate_key`; its log says why"
        return "it may not trust our certificate; its log says why"

    def _refusal_remedy(self) -> str:
        reason = str(self._refused).lower()
        if "author" in reason or "password" in reason:
            return "check user, password and certificate"
        if "identifier" in reason:
            return "choose another client_id"
        if "protocol" in reason:
            return "choose the other protocol"
        return "it is tried again by itself"

    # Called by paho from within its loop functions; they only take notes.

    def _on_wants_write(self, client: paho.Client, userdata: object, sock: object) -> None:
        """Queued; `write` will send it."""

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._packets += 1
        if reason.is_failure:
            self._refused = reason
            return
        self._connected = True
        self.session_present = flags.session_present

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._packets += 1
        self._lost = reason

    def _on_subscribe(
        self,
        client: paho.Client,
        userdata: object,
        packet_id: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        self._packets += 1
        self.granted[packet_id] = reasons

    def _on_unsubscribe(
        self,
        client: paho.Client,
        userdata: object,
        packet_id: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        self._packets += 1
        self.answered.add(packet_id)

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        self._packets += 1
        payload = bytes(message.payload)
        self._incoming_bytes += len(payload)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = None
        content_type, properties = _properties(message.properties) if message.properties is not None else ("", ())
        self._incoming.append(
            Incoming(topic, payload, message.mid, message.dup, message.retain, content_type, properties)
        )


def _properties(properties: Properties) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """Those of the publisher (MQTT 5, 3.3.2.3). What a broker changes between sendings is left out: expiry, alias."""
    kept: list[tuple[str, bytes]] = []
    response_topic = getattr(properties, "ResponseTopic", None)
    if response_topic is not None:
        kept.append(("response_topic", str(response_topic).encode()))
    correlation_data = getattr(properties, "CorrelationData", None)
    if correlation_data is not None:
        kept.append(("correlation_data", bytes(correlation_data)))
    kept += [(f"user.{name}", str(value).encode()) for name, value in getattr(properties, "UserProperty", ())]
    return str(getattr(properties, "ContentType", "")), tuple(kept)
