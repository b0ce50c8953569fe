"""`python -m tests.drivers.listener_campaign.device PORT FOLDER NAME RATE_PER_S SEED`: a device, until it is killed.

It goes on where its journal ends: what has no answer it sends again in order, with DUP and the same packet id, and PUBRELs
for what has its PUBREC. Now and then it drops its connection, or leaves it open behind it and comes back on another.
SIGTERM: it waits for its answers and ends with 0.

The file `NAME.aim` may say `PACKET N PID ALSO`: at the N-th answer of that kind the process PID is killed before the device has
noted the answer, and with ALSO = 1 the device itself, too. `NAME.hit` is there then.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.drivers.listener.wire import connect, publish, pubrel, take_packets
from tests.drivers.listener_campaign.habits import HABITS, payload, topic
from tests.drivers.listener_campaign.journal import ANSWERED, NEW, OVER, PRESENT, SENT, Journal

ANSWERS = {0x40: "puback", 0x50: "pubrec", 0x70: "pubcomp"}
TICK_S = 0.02
RETRY_S = 0.05
CONNECT_TIMEOUT_S = 5.0
FINISHED_WITHIN_S = 60.0
DROPS_PER_S = 0.3
MAX_LEFT_OPEN = 3
EXPIRES_NEVER = b"\x11\xff\xff\xff\xff"
ALIAS = b"\x23\x00\x01"
ANSWERS_LATER_THAN_S = 30.0


class Device:
    def __init__(self, port: int, folder: Path, name: str, rate_per_s: float, random: Random) -> None:
        self._port = port
        self._folder = folder
        self._name = name
        self._habit = HABITS[name]
        self._rate_per_s = rate_per_s
        self._random = random
        self._journal = Journal(folder / f"{name}.journal")
        journal = self._journal
        self._next = max(journal.sent, default=-1) + 1
        # Number -> packet id of what is not over, in the order of sending.
        self._open = {number: packet_id for number, packet_id in journal.sent.items() if number not in journal.over}
        self._packet_id = max(journal.sent.values(), default=0)
        if self._habit.forgetful:
            self._open, self._packet_id = {}, 0
        self._left_open: list[socket.socket] = []
        self._aim: tuple[str, int, int, bool] | None = None
        self.stopping = False

    def run(self) -> bool:
        """Until it is told to stop. True where all was answered for."""
        deadline_s: float | None = None
        while deadline_s is None or (time.monotonic() < deadline_s and self._open):
            with suppress(OSError):
                self._converse()
            if self.stopping and deadline_s is None:
                deadline_s = time.monotonic() + FINISHED_WITHIN_S
            time.sleep(RETRY_S)
        return not self._open

    def _converse(self) -> None:
        """One connection. Raises OSError when it ends before its time."""
        received = bytearray()
        connection = socket.create_connection(("127.0.0.1", self._port), CONNECT_TIMEOUT_S)
        try:
            self._introduce(connection)
            connection.sendall(b"".join(self._again(number) for number in self._open))
            connection.settimeout(TICK_S)
            since_s = answered_s = time.monotonic()
            named = False
            while not self.stopping or self._open:
                now_s = time.monotonic()
                if self._random.random() < DROPS_PER_S * TICK_S:
                    self._drop(connection)
                    return
                count = min(int((now_s - since_s) * self._rate_per_s), self._habit.window - len(self._open))
                if now_s - since_s > TICK_S and not self.stopping:
                    since_s = now_s
                    for _ in range(max(0, count)):
                        connection.sendall(self._new(named=named))
                        named = True
                self._look_at_aim()
                with suppress(TimeoutError):
                    data = connection.recv(1 << 16)
                    if not data:
                        raise ConnectionError("the gateway closed the connection")
                    answered_s = now_s
                    received += data
                    for head, body in take_packets(received):
                        if head & 0xF0 in ANSWERS:
                            self._answered(connection, head & 0xF0, body)
                if self._open and now_s - answered_s > ANSWERS_LATER_THAN_S:
                    raise ConnectionError("no answer")
            connection.sendall(b"\xe0\x00")
        finally:
            if connection not in self._left_open:
                connection.close()

    def _introduce(self, connection: socket.socket) -> None:
        habit = self._habit
        lasting = EXPIRES_NEVER if habit.version == 5 and not habit.clean else b""
        flags = 2 if habit.clean else 0
        connection.sendall(connect(self._name, version=habit.version, flags=flags, keep_alive_s=0, properties=lasting))
        head = b""
        while len(head) < 4:
            more = connection.recv(4 - len(head))
            if not more:
                raise ConnectionError("no CONNACK")
            head += more
        if head[0] != 0x20 or head[3]:
            raise ConnectionError(f"not let in: {head.hex()}")
        left = head[1] - 2
        while left:
            more = connection.recv(left)
            if not more:
                raise ConnectionError("half a CONNACK")
            left -= len(more)
        self._journal.note(PRESENT if head[2] & 1 else NEW)

    def _drop(self, connection: socket.socket) -> None:
        """Gone without a word; now and then it stays open, and nobody reads it any more."""
        if self._random.random() < 0.5:
            self._left_open.append(connection)
            if len(self._left_open) > MAX_LEFT_OPEN:
                self._left_open.pop(0).close()

    def _new(self, *, named: bool) -> bytes:
        habit, number = self._habit, self._next
        self._next += 1
        if habit.smallest_id:
            used = set(self._open.values())
            packet_id = next(each for each in range(1, 65_536) if each not in used)
        else:
            packet_id = self._packet_id = self._packet_id % 65_535 + 1
        self._journal.note(SENT, number, packet_id)
        self._open[number] = packet_id
        return self._publish(number, packet_id, named=named)

    def _again(self, number: int) -> bytes:
        if self._habit.qos == 2 and number in self._journal.answered:
            return pubrel(self._open[number])
        return self._publish(number, self._open[number], dup=True)

    def _publish(self, number: int, packet_id: int, *, dup: bool = False, named: bool = False) -> bytes:
        habit = self._habit
        # What is sent again must name its topic: an alias is the connection's (MQTT 5, 3.3.2.3.4).
        alias = ALIAS if habit.alias and not dup else b""
        said = "" if alias and named else topic(self._name)
        return publish(
            said,
            packet_id,
            payload(self._name, number),
            qos=habit.qos,
            version=habit.version,
            dup=dup,
            properties=alias,
        )

    def _answered(self, connection: socket.socket, kind: int, body: bytes) -> None:
        packet_id = int.from_bytes(body[:2], "big")
        if kind != 0x70 and len(body) > 2 and body[2] >= 0x80:
            raise SystemExit(f"{self._name}: packet id {packet_id} is refused: {body.hex()}")
        self._strike(ANSWERS[kind])
        number = next((number for number, used in self._open.items() if used == packet_id), None)
        if number is None:
            # It had one answer too many, which is no harm but under another message's id.
            return
        if kind != 0x70:
            self._journal.note(ANSWERED, number)
        if kind == 0x50:
            connection.sendall(pubrel(packet_id))
        else:
            self._journal.note(OVER, number)
            del self._open[number]

    def _look_at_aim(self) -> None:
        aim = self._folder / f"{self._name}.aim"
        if self._aim is None and aim.exists():
            packet_name, nth, pid, also = aim.read_text(encoding="ascii").split()
            aim.unlink()
            self._aim = packet_name, int(nth), int(pid), also == "1"

    def _strike(self, what: str) -> None:
        if self._aim is None or self._aim[0] != what:
            return
        _, left, pid, also = self._aim
        if left > 1:
            self._aim = what, left - 1, pid, also
            return
        self._aim = None
        (self._folder / f"{self._name}.hit").touch()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if also:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    port, folder, name, rate_per_s, seed = sys.argv[1:]
    device = Device(int(port), Path(folder), name, float(rate_per_s), Random(seed))

    def stop(*_: object) -> None:
        device.stopping = True

    signal.signal(signal.SIGTERM, stop)
    return 0 if device.run() else 1


if __name__ == "__main__":
    sys.exit(main())
