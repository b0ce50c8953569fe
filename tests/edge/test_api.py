"""The local API as any program uses it, with nothing but HTTP."""

from __future__ import annotations

import json
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from edge import Client, RequestRefusedError
from edge.errors import ListenError, TransactionRefusedError
from edge.http.local import local_application
from edge.http.seam import CheckResult
from edge.http.server import Server, UnixSite, listen_at
from edge.snapshot import NodeSnapshot, StreamSnapshot
from storage.model import StreamConfig
from storage.store import SegmentStore


class BareNode:
    """A store behind the API, with no devices around it. Its tickets are driven by a thread of the test."""

    def __init__(self) -> None:
        self.store = SegmentStore.in_memory()
        self.commands: list[tuple[str, str]] = []
        self._ended = threading.Event()
        self._committer = threading.Thread(target=self._commit)
        self.store.own_commits()
        self._committer.start()

    def _commit(self) -> None:
        while not self._ended.is_set():
            if self.store.wait_for_work(0.05):
                self.store.commit()

    def close(self) -> None:
        self._ended.set()
        self._committer.join()
        self.store.close()

    def snapshot(self) -> NodeSnapshot:
        return NodeSnapshot("bare")

    def stream_snapshot(self, name: str) -> StreamSnapshot:
        return StreamSnapshot(self.store.stream(name).name)

    def stream_config(self, name: str) -> StreamConfig:
        return StreamConfig(priority=77)

    def check_transaction(self, streams: Sequence[str]) -> None:
        if "local/only" in streams and len(streams) > 1:
            raise TransactionRefusedError("one upstream gets the one and not the other")

    def command_source(self, name: str, command: str) -> None:
        self.commands.append((name, command))

    def command_uplink(self, name: str, command: str) -> None:
        self.commands.append((name, command))

    def check(self) -> CheckResult:
        report = self.store.check()
        return CheckResult(report.ok, (), report.blocks, report.events, report.commits)


@pytest.fixture
def node() -> Iterator[BareNode]:
    with closing(BareNode()) as bare:
        yield bare


@pytest.fixture
def path(tmp_path: Path, node: BareNode) -> Iterator[Path]:
    server = Server(UnixSite(local_application(node), tmp_path / "edge.sock"))
    server.start()
    yield tmp_path / "edge.sock"
    server.stop()


@pytest.fixture
def client(path: Path) -> Client:
    return Client(path)


def lines(*objects: object) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in objects)


def refused(client: Client, body: bytes) -> tuple[int, str]:
    with pytest.raises(RequestRefusedError) as caught:
        client.post("/v1/write", body)
    return caught.value.status, str(caught.value)


def test_a_write_of_several_streams_is_one_commit(client: Client, node: BareNode) -> None:
    answer = client.post(
        "/v1/write", lines({"stream": "a", "payloads": ["1", "2"]}, {"stream": "b", "payload_base64": "/w=="})
    )
    assert answer == {"commit": node.store.last_commit, "positions": ["0.0:0", "0.0:0"], "stored": 3, "duplicates": 0}
    assert [event.payload for event in node.store.read("b")] == [b"\xff"]


def test_a_stream_is_made_on_first_use_with_its_settings(client: Client, node: BareNode) -> None:
    client.write("fresh", [b"x"])
    assert node.store.stream("fresh").config.priority == 77


def test_headers_go_through(client: Client) -> None:
    client.post("/v1/write", lines({"stream": "h", "payload": "x", "headers": {"unit": "m3/h"}}))
    assert next(client.read("h")).headers == (("unit", b"m3/h"),)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "write: nothing to store"),
        (b"[1]\n", 400, "write, line 1: an object was expected"),
        (b'{"stream": "a"}\n', 400, "write, line 1: one of payload, payload_base64, payloads, payloads_base64 was"),
        (b'\n{"stream": "a", "payload": 1}\n', 400, "write, line 2: payload: a text was expected"),
        (b'{"stream": "a b", "payload": ""}\n', 400, "'a b' is no stream name"),
        (b'{"stream": "a", "payload": "", "writer": "w"}\n', 400, "writer and number belong together"),
        (b'{"stream": "a", "payload": "", "colour": "red"}\n', 400, "unknown: colour"),
        (b'{"stream": "a", "payload_base64": "?"}\n', 400, "write, line 1: "),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(client: Client, body: bytes, status: int, text: str) -> None:
    found = refused(client, body)
    assert found[0] == status
    assert text in found[1]


def test_a_gap_in_the_numbers_is_409(client: Client) -> None:
    client.write("a", [b"x"], writer="w", number=0)
    assert refused(client, lines({"stream": "a", "payload": "y", "writer": "w", "number": 9}))[0] == 409


def test_an_event_above_the_limit_is_413(client: Client) -> None:
    status, text = refused(client, lines({"stream": "a", "payload": "x" * ((8 << 20) + 1)}))
    assert (status, text) == (413, "an event of 8388609 bytes: at most 8388608")


def test_an_event_of_no_bytes_is_one(client: Client) -> None:
    client.write("a", [b""])
    assert [event.payload for event in client.read("a")] == [b""]


def test_a_follower_gets_what_comes_after_it_began(client: Client) -> None:
    client.write("a", [b"1"])
    events = client.read("a", "head", follow=True)
    assert next(events).payload == b"1"
    client.write("a", [b"2", b"3"])
    assert [next(events).payload, next(events).payload] == [b"2", b"3"]


def test_a_follower_that_goes_away_gives_its_place_back(client: Client) -> None:
    client.write("a", [b"1"])
    for _ in range(100):
        events = client.read("a", "head", follow=True)
        next(events)
        events.close()
    assert next(client.read("a")).payload == b"1"


@pytest.mark.long
def test_a_reader_that_has_seen_enough_leaves_no_trace_in_the_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.write("a", [b"x" * 200] * 50)
    for _ in range(200):
        events = client.read("a")
        next(events)
        events.close()
    assert len(list(client.read("a"))) == 50
    assert [record.message for record in caplog.records if record.name.startswith("aiohttp")] == []


def test_readers_above_the_bound_are_told_so(client: Client) -> None:
    client.write("a", [b"1"])
    open_reads = [client.read("a", "head", follow=True) for _ in range(64)]
    for events in open_reads:
        next(events)
    with pytest.raises(RequestRefusedError, match="64 readers at a time") as caught:
        next(client.read("a"))
    assert caught.value.status == 503
    for events in open_reads:
        events.close()


def test_a_stop_ends_followers_and_removes_the_socket(tmp_path: Path, node: BareNode) -> None:
    server = Server(UnixSite(local_application(node), tmp_path / "edge.sock"))
    server.start()
    client = Client(tmp_path / "edge.sock")
    client.write("a", [b"1"])
    events = client.read("a", "head", follow=True)
    next(events)
    server.stop()
    assert list(events) == []
    assert not (tmp_path / "edge.sock").exists()


def test_commands_reach_the_node(client: Client, node: BareNode) -> None:
    client.command_source("flow", "restart")
    client.command_uplink("hub", "now")
    assert node.commands == [("flow", "restart"), ("hub", "now")]
    with pytest.raises(RequestRefusedError, match='"explode" is no command: use pause, resume, restart'):
        client.command_source("flow", "explode")


def test_check_looks_at_the_running_store(client: Client) -> None:
    client.write("a", [b"1"])
    assert (client.check().ok, client.check().events) == (True, 1)


def test_a_check_takes_as_long_as_it_takes(path: Path, node: BareNode, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = Client(path, timeout_s=0.1)
    check = node.check

    def slow() -> CheckResult:
        time.sleep(0.3)
        return check()

    monkeypatch.setattr(node, "check", slow)
    assert impatient.check().ok


def test_what_does_not_exist_is_a_404_in_words(client: Client) -> None:
    for place in ("/v1/streams/none", "/v1/none", "/v1/read?stream=none"):
        with pytest.raises(RequestRefusedError) as caught:
            client.get(place)
        assert caught.value.status == 404


def test_curl_can_use_it(path: Path, client: Client) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    client.write("plant/flow", [b"12.7"], key="k")
    done = subprocess.run(
        ["curl", "-sS", "--unix-socket", str(path), "http://edge/v1/read?stream=plant/flow&from=head"],
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["payload"] == "12.7"
    metrics = subprocess.run(
        ["curl", "-sS", "--unix-socket", str(path), "http://edge/metrics"], capture_output=True, check=True
    )
    assert b'edge_info{node="bare",version=""} 1\n' in metrics.stdout


def test_the_socket_is_for_the_group_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_socket_that_nobody_listens_at_is_taken_over(tmp_path: Path) -> None:
    place = tmp_path / "edge.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
    listen_at(place).close()


def test_a_socket_that_is_in_use_is_left_alone(path: Path) -> None:
    with pytest.raises(ListenError, match="another edge is listening there"):
        listen_at(path)


def test_a_path_too_long_for_a_socket_says_so(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="at most 107 bytes"):
        listen_at(tmp_path / ("x" * 120))
