"""The hub's handlers on a real server: who may speak, how much at once, and what a bad request gets."""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from edge.http.hub import HubLimits
from storage import SegmentStore
from storage.kv.memory import MemoryTwin
from storage.mirror.unit import Unit
from sync.contract import BusyError, DivergedError, Hello, RefusedError, UnreachableError
from sync.hub.client import Credentials, Deadlines, HubUpstream
from sync.hub.envelope import MAX_UNIT_BYTES, MEDIA_TYPE
from sync.hub.receiver import Receiver
from sync.hub.wire import decode_holdings, encode_hello, encode_unit
from tests.sync.kinds import PATIENT, HubServer

TLS = Path(__file__).parent / "tls"
NODE = UUID(int=1)


@contextmanager
def serving(
    *, tokens: dict[str, str] | None = None, limits: HubLimits | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[HubServer, SegmentStore]]:
    store = SegmentStore.in_memory()
    store.own_commits()
    server = HubServer(tokens, limits, tls)
    server.start(Receiver(store), lambda: store.wait_for_work(0.05) and store.commit())
    try:
        yield server, store
    finally:
        server.stop()
        store.close()


def unit_of(node: str = "pump-7", count: int = 3) -> tuple[Unit, SegmentStore]:
    """A unit of a store that exists."""
    store = SegmentStore.in_memory(MemoryTwin())
    store.create_stream("a")
    store.writer("a", "w").append_many([b"x"] * count).result()
    unit = store.next_unit(node, {}, lambda name: True, 1 << 20)
    assert unit is not None
    return unit, store


def post(server: HubServer, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, object], bytes]:
    """A raw request. The JSON of the answer where it is any, else its bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("POST", path, body, {"Content-Type": MEDIA_TYPE, **named})
        response = connection.getresponse()
        raw = response.read()
    finally:
        connection.close()
    json_like = response.headers.get_content_type() == "application/json"
    return response.status, json.loads(raw) if json_like else {}, raw


def test_a_token_speaks_for_its_own_node_only() -> None:
    with serving(tokens={"pump-7": "seven", "pump-8": "eight"}) as (server, _):
        for node, token in (("pump-7", None), ("pump-7", "eight"), ("pump-9", "seven"), ("pump-7", "")):
            client = HubUpstream(server.url, credentials=Credentials(token=token), deadlines=PATIENT)
            with pytest.raises(RefusedError, match=f"does not take this token for node '{node}'") as caught:
                client.handshake(Hello(node, NODE, 1))
            assert "tokens file" in caught.value.remedy
            client.close()
        client = HubUpstream(server.url, credentials=Credentials(token="seven"), deadlines=PATIENT)
        assert client.handshake(Hello("pump-7", NODE, 1)).store is None
        client.close()


def test_a_message_for_another_node_than_the_token_is_refused() -> None:
    unit, _ = unit_of("pump-8")
    with serving(tokens={"pump-7": "seven"}) as (server, store):
        for path, body in (
            ("/v1/mirror/hello", encode_hello(Hello("pump-8", NODE, 1))),
            ("/v1/mirror/unit", encode_unit(unit)),
        ):
            status, answer, _raw = post(server, path, body, X_Edge_Node="pump-7", Authorization="Bearer seven")
            assert (status, answer["kind"]) == (401, "unauthorized")
        assert store.streams() == []


@pytest.mark.long
def test_the_largest_transaction_goes_up_in_one_unit() -> None:
    with SegmentStore.in_memory() as gateway, serving() as (server, hub):
        gateway.create_stream("a")
        gateway.create_stream("b")
        with gateway.transaction("a", "b") as transaction:
            for number in range(15):
                for stream in ("a", "b"):
                    transaction.append(random.randbytes(2 << 20), stream=stream).result()
                    transaction.append(b"%d" % number, stream=stream).result()
        client = HubUpstream(server.url, deadlines=PATIENT)
        held = client.handshake(Hello("pump-7", gateway.store_id, gateway.opening)).streams
        unit = gateway.next_unit("pump-7", held, lambda _: True, 1)
        assert unit is not None
        assert unit.size_bytes > 60 << 20
        client.put(unit)
        client.close()
        for stream in ("a", "b"):
            assert [event.payload for event in hub.read(f"pump-7/{stream}")] == [
                event.payload for event in gateway.read(stream)
            ]


@pytest.mark.parametrize("authorization", ["Basic c2V2ZW4=", "Bearer", "seven", "Bearer s\xe9ven"])
def test_nonsense_in_the_authorization_header_is_a_401(authorization: str) -> None:
    with serving(tokens={"pump-7": "seven"}) as (server, _):
        status, answer, _raw = post(server, "/v1/mirror/hello", b"", X_Edge_Node="pump-7", Authorization=authorization)
        assert (status, answer["kind"]) == (401, "unauthorized")


def test_without_tokens_any_node_may_speak() -> None:
    with serving() as (server, _):
        status, _answer, raw = post(
            server, "/v1/mirror/hello", encode_hello(Hello("pump-7", NODE, 1)), X_Edge_Node="pump-7"
        )
        assert status == 200
        assert decode_holdings(raw).streams == {}


def test_a_damaged_unit_is_refused_whole_and_sent_again() -> None:
    unit, _ = unit_of()
    message = bytearray(encode_unit(unit))
    message[-1] ^= 1
    with serving() as (server, store):
        status, answer, _raw = post(server, "/v1/mirror/unit", bytes(message), X_Edge_Node="pump-7")
        assert (status, answer["kind"]) == (400, "damaged")
        assert "CRC-32" in str(answer["error"])
        assert store.streams() == []


def test_a_unit_of_a_newer_version_asks_for_the_same_release() -> None:
    unit, _ = unit_of()
    message = bytearray(encode_unit(unit))
    message[4] = 9
    with serving() as (server, _):
        status, answer, _raw = post(server, "/v1/mirror/unit", bytes(message), X_Edge_Node="pump-7")
        assert (status, answer["kind"]) == (400, "refused")
        assert "same release" in str(answer["remedy"])


def test_a_block_damaged_before_it_was_sent_is_found_by_the_hub() -> None:
    unit, _ = unit_of()
    part = unit.parts[0]
    entry = part.entries[0]
    broken = type(entry)(
        entry.segment, entry.epoch, entry.start, entry.length, entry.events, entry.commit,
        entry.raw[:-1] + bytes([entry.raw[-1] ^ 1]),
    )  # fmt: skip
    bad = Unit(
        unit.node, unit.store, unit.opening, unit.boots,
        (type(part)(part.stream, part.incarnation, part.config, part.after, part.through, (broken,)),),
    )  # fmt: skip
    with serving() as (server, store):
        client = HubUpstream(server.url, deadlines=PATIENT)
        with pytest.raises(RefusedError) as caught:
            client.put(bad)
        assert "edge check" in caught.value.remedy
        assert store.streams() == []
        client.close()


def test_a_unit_that_continues_nothing_is_diverged() -> None:
    _, origin = unit_of()
    origin.writer("a", "w").append(b"y").result()
    held = SegmentStore.in_memory()
    held.submit_unit(origin.next_unit("pump-7", {}, lambda name: True, 1) or unit_of()[0]).result()
    later = origin.next_unit("pump-7", held.holdings("pump-7").streams, lambda name: True, 1)
    assert later is not None
    with serving() as (server, _):
        client = HubUpstream(server.url, deadlines=PATIENT)
        with pytest.raises(DivergedError):
            client.put(later)
        client.close()


def test_a_message_without_an_end_is_not_waited_for() -> None:
    with (
        serving(limits=HubLimits(piece_s=0.2)) as (server, _),
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as link,
    ):
        link.sendall(b"POST /v1/mirror/unit HTTP/1.1\r\nHost: h\r\nX-Edge-Node: a\r\nContent-Length: 100\r\n\r\nEDGM")
        assert link.recv(1000).startswith(b"HTTP/1.1 408")


def test_an_announced_monster_is_refused_before_it_is_read() -> None:
    with serving() as (server, _), socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        length = MAX_UNIT_BYTES + 1
        link.sendall(
            f"POST /v1/mirror/unit HTTP/1.1\r\nHost: h\r\nX-Edge-Node: a\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        assert link.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_message_without_a_length_is_refused() -> None:
    with serving() as (server, _), socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        link.sendall(
            b"POST /v1/mirror/unit HTTP/1.1\r\nHost: h\r\nX-Edge-Node: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        assert link.recv(1000).startswith(b"HTTP/1.1 411")


@contextmanager
def unfinished(server: HubServer, node: str) -> Iterator[None]:
    """A unit whose end does not come, as a link that broke off leaves it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        head = f"POST /v1/mirror/unit HTTP/1.1\r\nHost: h\r\nX-Edge-Node: {node}\r\nContent-Length: 100\r\n"
        link.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert link.recv(1000).startswith(b"HTTP/1.1 100"), "the hub has not begun to read"
        yield


def _raise_when(true: bool) -> None:
    time.sleep(0.01)
    if true:
        raise StopIteration


def eventually(ask: Callable[[], object], error: type[Exception]) -> Exception:
    """The error of `ask`, asked until it comes: a request that was begun is counted a moment later."""
    for _ in range(1000):
        try:
            ask()
        except error as caught:
            return caught
    raise AssertionError(f"{error.__name__} never came")


def test_links_that_broke_off_do_not_take_the_hub_from_others() -> None:
    unit, _ = unit_of("pump-8")
    limits = HubLimits(units=3, units_per_node=2)
    with serving(limits=limits) as (server, store):
        with unfinished(server, "pump-7"), unfinished(server, "pump-7"):
            client = HubUpstream(server.url, deadlines=PATIENT)
            sick, _ = unit_of("pump-7")
            busy = eventually(lambda: client.put(sick), BusyError)
            assert "this node" in str(busy)
            client.put(unit)
            client.close()
        assert store.has_stream("pump-8/a")


def test_a_full_hub_says_when_to_come_back() -> None:
    with serving(limits=HubLimits(units=1, busy_retry_s=4.0)) as (server, _), unfinished(server, "pump-8"):
        unit, _origin = unit_of("pump-7")
        client = HubUpstream(server.url, deadlines=PATIENT)
        busy = eventually(lambda: client.put(unit), BusyError)
        assert isinstance(busy, BusyError)
        assert busy.retry_after_s == 4.0
        assert "other nodes" in str(busy)
        client.close()


def test_a_unit_that_is_not_durable_in_time_is_busy_and_is_a_no_op_later() -> None:
    unit, _ = unit_of()
    store = SegmentStore.in_memory()
    store.own_commits()
    allowed = threading.Event()
    server = HubServer(limits=HubLimits(durable_s=0.2))
    server.start(Receiver(store), lambda: allowed.wait(0.05) and store.wait_for_work(0.05) and store.commit())
    client = HubUpstream(server.url, deadlines=PATIENT)
    try:
        with pytest.raises(BusyError, match="not durable"):
            client.put(unit)
        allowed.set()
        held = client.put(unit)
        assert held.streams["a"].through == unit.parts[0].through
        assert [event.payload for event in store.read("pump-7/a")] == [b"x"] * 3
    finally:
        client.close()
        server.stop()
        store.close()


def test_a_hub_with_a_full_disk_takes_no_more_and_goes_on_when_there_is_room() -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    store.own_commits()
    server = HubServer(limits=HubLimits(durable_s=0.2))
    server.start(Receiver(store), lambda: store.wait_for_work(0.05) and store.commit())
    client = HubUpstream(server.url, deadlines=PATIENT)
    first, _ = unit_of("pump-7")
    second, _ = unit_of("pump-8")
    try:
        twin.capacity_bytes = twin.used_bytes
        with pytest.raises(BusyError, match="not durable"):
            client.put(first)
        with pytest.raises(BusyError, match="disk is full"):
            client.put(second)
        assert client.handshake(Hello("pump-8", second.store, second.opening)).streams == {}
        twin.capacity_bytes = None
        eventually(lambda: _raise_when(store.blocked is None), StopIteration)
        client.put(first)
        client.put(second)
        for node in ("pump-7", "pump-8"):
            assert [event.payload for event in store.read(f"{node}/a")] == [b"x"] * 3
    finally:
        client.close()
        server.stop()
        store.close()


def test_replied_is_named_after_applied() -> None:
    steps: list[str] = []
    unit, _ = unit_of()
    store = SegmentStore.in_memory()
    store.own_commits()
    server = HubServer()

    def trace(step: str, details: dict[str, object]) -> None:
        steps.append(step)

    server.start(Receiver(store, trace), lambda: store.wait_for_work(0.05) and store.commit(), trace)
    client = HubUpstream(server.url, deadlines=PATIENT)
    client.put(unit)
    client.close()
    server.stop()
    store.close()
    assert steps == ["hub.received", "hub.applied", "hub.replied"]


def hub_tls(*, ask_for_certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=TLS / "ca.pem")
    context.load_cert_chain(TLS / "hub.pem", TLS / "hub.key")
    context.verify_mode = ssl.CERT_REQUIRED if ask_for_certificate else ssl.CERT_NONE
    return context


def test_a_hub_with_a_trusted_certificate_and_ours() -> None:
    with serving(tls=hub_tls(ask_for_certificate=True)) as (server, _):
        ours = Credentials(ca_file=TLS / "ca.pem", certificate=TLS / "gateway.pem", key=TLS / "gateway.key")
        client = HubUpstream(server.url, credentials=ours, deadlines=PATIENT)
        unit, _origin = unit_of()
        assert client.handshake(Hello("pump-7", unit.store, unit.opening)).streams == {}
        assert client.put(unit).streams["a"].through == unit.parts[0].through
        client.close()
        client = HubUpstream(server.url, credentials=Credentials(ca_file=TLS / "ca.pem"), deadlines=PATIENT)
        with pytest.raises(UnreachableError):
            client.handshake(Hello("pump-7", NODE, 1))
        client.close()


def test_a_hub_whose_certificate_nobody_trusts_is_said_as_such() -> None:
    with serving(tls=hub_tls(ask_for_certificate=False)) as (server, _):
        client = HubUpstream(server.url, deadlines=PATIENT)
        with pytest.raises(UnreachableError, match=r"certificate is not accepted.*ca_file.*date of this machine"):
            client.handshake(Hello("pump-7", NODE, 1))
        client.close()


def test_plain_http_to_a_tls_port_is_an_error_not_a_hang() -> None:
    with serving(tls=hub_tls(ask_for_certificate=False)) as (server, _):
        client = HubUpstream(server.url.replace("https", "http"), deadlines=Deadlines(5.0, 5.0, 5.0))
        with pytest.raises(UnreachableError):
            client.handshake(Hello("pump-7", NODE, 1))
        client.close()
