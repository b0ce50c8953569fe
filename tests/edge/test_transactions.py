"""A program beside a running daemon has transactions over the local socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from edge import Client, EdgeError, RequestRefusedError
from edge.http.local import local_application
from edge.http.server import Server, UnixSite
from storage import FakeClock
from storage.model import TransactionState
from tests.edge.running import node_of, running, write_config
from tests.edge.test_api import BareNode
from tests.edge.test_daemon import free_port
from tests.waiting import until


@pytest.fixture
def node() -> Iterator[BareNode]:
    with closing(BareNode()) as bare:
        yield bare


@pytest.fixture
def client(tmp_path: Path, node: BareNode) -> Iterator[Client]:
    server = Server(UnixSite(local_application(node), tmp_path / "edge.sock"))
    server.start()
    yield Client(tmp_path / "edge.sock")
    server.stop()


def payloads(client: Client, stream: str) -> list[bytes]:
    return [event.payload for event in client.read(stream)]


def test_what_is_appended_is_readable_once_it_is_committed_on_all_its_streams(client: Client, node: BareNode) -> None:
    with client.transaction("plant/flow", "plant/alarms") as transaction:
        assert transaction.append(b"12.7", "pump-7", stream="plant/flow").stored == 1
        transaction.append_many([b"\xff\x00", b"low"], "pump-7", stream="plant/alarms")
        client.write("plant/flow", [b"between"])
        assert payloads(client, "plant/flow") == [b"between"]
        assert payloads(client, "plant/alarms") == []
        assert transaction.state is client.transaction_state(transaction.id) is TransactionState.OPEN
    assert payloads(client, "plant/flow") == [b"between", b"12.7"]
    assert payloads(client, "plant/alarms") == [b"\xff\x00", b"low"]
    assert [event.routing_key for event in client.read("plant/alarms")] == ["pump-7"] * 2
    assert client.transaction_state(transaction.id) is TransactionState.COMMITTED
    assert node.store.stream("plant/flow").config.priority == 77
    assert node.store.check().findings == []


def test_an_error_inside_aborts_it(client: Client) -> None:
    with pytest.raises(ZeroDivisionError), client.transaction("s") as transaction:
        transaction.append(b"x")
        raise ZeroDivisionError
    assert client.transaction_state(transaction.id) is TransactionState.ABORTED
    assert client.transaction_state(uuid4()) is None
    assert payloads(client, "s") == []


def test_commit_and_abort_are_final_and_may_be_said_twice(client: Client) -> None:
    transaction = client.begin_transaction(["s"])
    transaction.append(b"x")
    first = transaction.commit()
    assert (first.stored, str(first.position)) == (1, "0.0:0")
    assert transaction.commit().commit == first.commit
    for refused in (transaction.abort, transaction.ping, lambda: transaction.append(b"y")):
        with pytest.raises(RequestRefusedError, match=r"(was|is) committed") as told:
            refused()
        assert told.value.status == 409
    other = client.begin_transaction(["s"])
    other.abort()
    other.abort()
    with pytest.raises(RequestRefusedError, match="was aborted") as told:
        other.commit()
    assert told.value.status == 409
    assert payloads(client, "s") == [b"x"]


def test_another_program_may_go_on_with_it_by_its_id(client: Client) -> None:
    chosen = uuid4()
    begun = client.begin_transaction(["s"], transaction=chosen)
    assert client.begin_transaction(["s"], transaction=chosen).id == begun.id == chosen
    begun.append(b"x", writer="w", number=0)
    again = client.resume_transaction(chosen)
    assert again.streams == ("s",)
    assert again.append(b"x", writer="w", number=0).duplicates == 1
    again.append(b"y", writer="w", number=1)
    again.commit()
    assert payloads(client, "s") == [b"x", b"y"]
    assert client.last_number("s", "w") == 1


def test_a_cursor_is_kept_with_the_commit_and_only_with_it(client: Client, node: BareNode) -> None:
    assert client.cursor("files/a") is None
    with client.transaction("s") as transaction:
        transaction.append(b"x")
        transaction.commit(cursors={"files/a": b"\x00line 7"})
    assert client.cursor("files/a") == b"\x00line 7"
    with pytest.raises(ZeroDivisionError), client.transaction("s") as transaction:
        transaction.append(b"y")
        raise ZeroDivisionError
    assert client.cursor("files/a") == b"\x00line 7"
    assert node.store.cursor("files/a") is None  # a source's own cursor would be there


def test_cursors_of_programs_have_a_bound(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.http.transactions.MAX_CURSORS", 2)
    transaction = client.begin_transaction(["s"])
    with pytest.raises(RequestRefusedError, match="at most 2; use a name that is there again") as told:
        transaction.commit(cursors={"a": b"", "b": b"", "c": b""})
    assert told.value.status == 409
    transaction.commit(cursors={"a": b"1", "b": b"2"})
    client.begin_transaction(["s"]).commit(cursors={"b": b"3"})
    assert client.cursor("b") == b"3"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/v1/transactions", {}, 400, "streams: a list of names"),
        ("/v1/transactions", {"streams": ["s"], "lease": 3}, 400, "an object with id, lease_s, streams was expected"),
        ("/v1/transactions", {"streams": ["s"], "lease_s": "long"}, 400, "lease_s: a number of seconds"),
        ("/v1/transactions", {"streams": ["s"], "lease_s": 0.1}, 409, "it must be between 1 s and 86400 s"),
        ("/v1/transactions", {"streams": ["a b"]}, 400, "is no stream name"),
        ("/v1/transactions", {"streams": ["s"], "id": "7"}, 400, "'7' is no UUID"),
        ("/v1/transactions", {"streams": ["s", "local/only"]}, 409, "one upstream gets the one and not the other"),
        ("/v1/transactions/7/commit", {}, 400, '"7" is no transaction: ids are UUIDs'),
        (f"/v1/transactions/{UUID(int=7)}/commit", {}, 404, "there is no transaction"),
        (f"/v1/transactions/{UUID(int=7)}/ping", {}, 404, "there is no transaction"),
        (f"/v1/transactions/{UUID(int=7)}/append", {"payload": "x"}, 404, "there is no transaction"),
    ],
)
def test_a_refusal_says_why(client: Client, path: str, body: dict[str, object], status: int, text: str) -> None:
    with pytest.raises(RequestRefusedError, match=text) as told:
        client.post(path, json.dumps(body).encode())
    assert told.value.status == status


def test_an_append_names_a_stream_of_the_transaction(client: Client) -> None:
    client.write("other", [b"x"])
    transaction = client.begin_transaction(["s", "t"])
    with pytest.raises(EdgeError, match="say which, with stream="):
        transaction.append(b"x")
    with pytest.raises(RequestRefusedError, match="is not of stream 'other'") as told:
        transaction.append(b"x", stream="other")
    assert told.value.status == 409
    with pytest.raises(RequestRefusedError, match="is not of stream 'other'"):
        transaction.commit()
    transaction.abort()


def test_a_sealed_stream_is_no_failure_of_the_daemon(client: Client, node: BareNode) -> None:
    client.write("s", [b"x"])
    node.store.seal("s")
    for write in (lambda: client.write("s", [b"y"]), lambda: client.begin_transaction(["s"])):
        with pytest.raises(RequestRefusedError, match="was sealed") as told:
            write()
        assert told.value.status == 409


@pytest.mark.long
def test_the_streams_of_one_have_the_same_upstreams(tmp_path: Path) -> None:
    port = free_port()
    upstream = f'[[upstream]]\nname = "hub"\nurl = "http://127.0.0.1:{port}"\nstreams = ["plant/*"]\n'
    with node_of(write_config(tmp_path, more=upstream), FakeClock()) as gateway:
        client = Client(gateway.config.node.socket)
        with pytest.raises(RequestRefusedError, match="upstream 'hub' gets the one and not the other") as told:
            client.begin_transaction(["plant/flow", "local/notes"])
        assert told.value.status == 409
        client.begin_transaction(["plant/flow", "plant/alarms"]).abort()
        client.begin_transaction(["local/notes", "local/more"]).abort()


@pytest.mark.long
def test_one_whose_holder_is_not_heard_of_is_aborted_by_the_daemon(tmp_path: Path) -> None:
    clock = FakeClock()
    with node_of(write_config(tmp_path), clock) as gateway:
        client = Client(gateway.config.node.socket)
        appended, pinged, left = (client.begin_transaction(["s"], lease_s=5) for _ in range(3))
        for _ in range(3):
            clock.advance(4)
            gateway.expire_transactions()
            appended.append(b"x")
            pinged.ping()
        until(lambda: left.state is TransactionState.ABORTED, "the one that was left to be aborted")
        assert appended.state is pinged.state is TransactionState.OPEN
        with pytest.raises(RequestRefusedError, match="is aborted: begin another"):
            left.append(b"x")
        appended.commit()
        assert payloads(client, "s") == [b"x"] * 3


@pytest.mark.long
def test_one_goes_on_after_a_kill_of_the_daemon_and_one_that_was_left_does_not(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with running(config) as node:
        transaction = node.client.begin_transaction(["s"])
        transaction.append(b"1", writer="w", number=0)
        committed = node.client.begin_transaction(["s"])
        committed.append(b"0")
        committed.commit()
        left = node.client.begin_transaction(["s"], lease_s=1)
        left.append(b"never")
        node.process.kill()
        node.process.wait()
    with running(config) as node:
        again = node.client.resume_transaction(transaction.id)
        assert again.append(b"1", writer="w", number=0).duplicates == 1
        again.append(b"2", writer="w", number=1)
        again.commit(cursors={"at": b"2"})
        assert node.client.transaction_state(committed.id) is TransactionState.COMMITTED
        until(lambda: node.client.transaction_state(left.id) is TransactionState.ABORTED, "the lease to end")
        assert "nobody was heard of it for its lease" in node.log.read_text()
        assert payloads(node.client, "s") == [b"0", b"1", b"2"]
        assert node.client.cursor("at") == b"2"


def test_it_works_with_nothing_but_http(client: Client) -> None:
    begun = client.post("/v1/transactions", b'{"streams": ["s"]}')
    assert begun["state"] == "OPEN"
    where = f"/v1/transactions/{begun['id']}"
    client.post(f"{where}/append", b'{"payload": "1"}\n{"payload": "2", "key": "k"}\n')
    kept = base64.b64encode(b"at 2").decode()
    done = client.post(f"{where}/commit", json.dumps({"cursors_base64": {"c": kept}}).encode())
    assert (done["state"], done["stored"], done["positions"]) == ("COMMITTED", 2, ["0.0:0"])
    assert client.get(where)["state"] == "COMMITTED"
    assert client.get("/v1/cursors/c") == {"value_base64": kept}


@pytest.mark.long
def test_its_hub_shows_all_of_it_or_nothing(tmp_path: Path) -> None:
    port, clock = free_port(), FakeClock()
    hub_config = write_config(tmp_path / "hub", "hub", f'[hub]\nlisten = "127.0.0.1:{port}"\n')
    config = write_config(tmp_path / "gateway", more=f'[[upstream]]\nname = "hub"\nurl = "http://127.0.0.1:{port}"\n')
    with node_of(hub_config, clock) as hub, node_of(config, clock) as gateway:
        client = Client(gateway.config.node.socket)

        def there(stream: str) -> list[bytes]:
            name = f"pump-7/{stream}"
            return [event.payload for event in hub.store.read(name)] if hub.store.has_stream(name) else []

        for round_ in range(5):
            with client.transaction("flow", "alarms") as transaction:
                for number in range(3):
                    transaction.append(b"%d.%d" % (round_, number), stream="flow")
                    transaction.append(b"%d.%d" % (round_, number), stream="alarms")
                    client.write("other", [b"x"])
            seen = there("alarms")
            assert len(seen) % 3 == 0
            assert len(there("flow")) >= len(seen)
        left = client.begin_transaction(["flow"])
        left.append(b"never")
        client.write("other", [b"last"])
        until(lambda: there("other")[-1:] == [b"last"], "what was written last")
        expected = [b"%d.%d" % (round_, number) for round_ in range(5) for number in range(3)]
        assert there("flow") == there("alarms") == expected
        left.abort()
        assert hub.check().findings == gateway.check().findings == ()
