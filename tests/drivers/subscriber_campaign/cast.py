"""Gateway, broker and publishers as processes, the wire between, and how each of them dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from edge.demo.nodes import NodeError, NodeProcess
from storage import SegmentStore
from tests.drivers.lives import CAME_WITHIN_S
from tests.drivers.subscriber_campaign.book import Session
from tests.drivers.subscriber_campaign.publisher import EQUAL_TOPIC, connect, publish_packet, read_journal, reading
from tests.drivers.subscriber_campaign.wire import Wire
from tests.oracle.aim import ROOT, Target, node_command
from tests.servers.mosquitto import Mosquitto

NAME = "pump-7"
PROTOCOLS = {"v3": "3.1.1", "v5": "5"}
"""Sources of the gateway: name, and the MQTT version that it speaks."""
PUBLISHER = "tests.drivers.subscriber_campaign.publisher"
PUBLISHERS = ("north", "south")
RATE_PER_S = 60.0
AUTOSAVE_CHANGES = 25
MAX_INFLIGHT = 100
REACHED_WITHIN_S = 30.0
LAST_TOPIC, LAST, LAST_AGAIN_S = "site/last", b"last", 2.0
TOPICS = (*(f"site/{who}" for who in PUBLISHERS), EQUAL_TOPIC, LAST_TOPIC)


def client_id(source: str) -> str:
    return f"edge-{NAME}-{source}"


def gateway_toml(folder: Path, port: int) -> str:
    lines = ["[node]", f'name = "{NAME}"']
    lines += [f"data_dir = {json.dumps(str(folder))}", f"socket = {json.dumps(str(folder / 'edge.sock'))}"]
    for source, protocol in PROTOCOLS.items():
        lines += ["[[source]]", f'name = "{source}"', 'driver = "mqtt"', f'protocol = "{protocol}"']
        lines += [f'broker = "mqtt://127.0.0.1:{port}"', 'topics = ["site/+"]']
        lines += [f'stream = "{source}/{{1}}"', 'key = "{topic}"']
    return "\n".join([*lines, ""])


class PublisherProcess:
    """A publisher of its own process, killed and started again."""

    def __init__(self, who: str, folder: Path, port: int) -> None:
        self.who = who
        self.journal = folder / f"{who}.journal"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [str(self._port), str(self.journal), self.who, str(RATE_PER_S)]
        self._process = subprocess.Popen([sys.executable, "-m", PUBLISHER, *arguments], cwd=ROOT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def finish(self) -> bool:
        """No more from it. True where the broker has answered for all of it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(CAME_WITHIN_S) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def answered(self) -> list[tuple[str, bytes]]:
        """Topic and payload of what the broker answered for, each number once."""
        return [reading(self.who, number) for number in sorted(read_journal(self.journal)[1])]


class Cast:
    """Everybody, in `folder`."""

    def __init__(self, folder: Path, random: Random, command: Callable[[Path], Sequence[str]] | None = None) -> None:
        settings = ("autosave_on_changes true", f"autosave_interval {AUTOSAVE_CHANGES}", "log_type none")
        self.broker = Mosquitto(folder / "broker", persistence=True, max_inflight=MAX_INFLIGHT, settings=settings)
        self.wire = Wire(self.broker.port)
        gateway = folder / "gateway"
        self.node = NodeProcess(gateway, gateway_toml(gateway, self.wire.port), (command or node_command)(gateway))
        self.target = Target("subscriber", self.node, Random(random.random()), reached_within_s=REACHED_WITHIN_S)
        self.publishers = [PublisherProcess(who, folder, self.broker.port) for who in PUBLISHERS]

    def start(self) -> None:
        """Returns when messages come to both sources."""
        self.broker.start()
        self.node.start()
        self.node.ready(CAME_WITHIN_S)
        self._wait_until(self._are_connected, "both sources at the broker")
        for publisher in self.publishers:
            publisher.start()
        self._wait_until(lambda: all(self.session(source).messages for source in PROTOCOLS), "the first messages")

    def _are_connected(self) -> bool:
        return all(client_id(source) in self.wire.book.sessions for source in PROTOCOLS)

    def _wait_until(self, holds: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + CAME_WITHIN_S
        while not holds():
            if time.monotonic() > deadline_s:
                raise NodeError(f"{what} never came: {self.node.log_end()}")
            time.sleep(0.05)

    def close(self) -> None:
        for publisher in self.publishers:
            publisher.kill()
        self.node.kill()
        self.broker.kill()
        self.wire.close()

    def kill_at_packet(self, site: str, nth: int, *, starting: bool) -> bool:
        """SIGKILL to the gateway at the n-th packet of `site`, `starting`: after a start, so that it is killed before it too.

        False where the packet did not come in time; it is dead anyway.
        """
        if starting:
            self.node.kill()
            self.wire.aim(site, nth, lambda: self.node.send(signal.SIGKILL))
            self.node.start()
        else:
            self.wire.aim(site, nth, lambda: self.node.send(signal.SIGKILL))
        hit = self.node.wait(REACHED_WITHIN_S)
        self.wire.aim("", 0, lambda: None)
        if not hit:
            self.node.kill()
        return hit

    def restart_broker(self) -> None:
        self.broker.kill()
        self.broker.start()

    def drain(self, timeout_s: float) -> str | None:
        """Stop the publishers and wait until all has come that the broker holds. Says what did not happen."""
        unanswered = [publisher.who for publisher in self.publishers if not publisher.finish()]
        if unanswered:
            return f"the broker has not answered {', '.join(unanswered)}"
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            # Again and again: the first may come before a source that the broker forgot has subscribed.
            with connect(self.broker.port, "last") as connection:
                connection.sendall(publish_packet(1, LAST_TOPIC, LAST))
                connection.recv(4)
            again_s = time.monotonic() + LAST_AGAIN_S
            while time.monotonic() < again_s:
                if self._has_last():
                    return None
                time.sleep(0.05)
        return f"the last message did not come to both sources: {self.node.log_end()}"

    def _has_last(self) -> bool:
        """Both sources have answered the message behind all others."""
        with self.wire.book.lock:
            return all(
                any(message.payload == LAST and message.acknowledged for message in session.messages[-100:])
                for session in map(self.session, PROTOCOLS)
            )

    def session(self, source: str) -> Session:
        return self.wire.book.sessions[client_id(source)]

    def stored(self, source: str) -> dict[str, list[bytes]]:
        """Payloads by topic, in the order of the store. The gateway is down."""
        held: dict[str, list[bytes]] = {}
        with SegmentStore.open(self.node.store) as store:
            for stream in (info.name for info in store.streams()):
                if stream.startswith(f"{source}/"):
                    for event in store.read(stream, follow=False):
                        held.setdefault(event.routing_key, []).append(event.payload)
        return held
