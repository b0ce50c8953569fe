"""The hub client against peers on a real socket that are silent, broken, or no hub at all."""

from __future__ import annotations

import socket
from pathlib import Path
from uuid import UUID

import pytest

from storage.mirror.unit import Entry, Holdings, Part, Unit
from sync.contract import BusyError, DivergedError, Hello, RefusedError, UnreachableError
from sync.hub.answer import Answer, answer_to
from sync.hub.client import Credentials, Deadlines, HubUpstream
from tests.sync import peers
from tests.sync.peers import HOLDS_NOTHING, Behaviour, peer, response

HELLO = Hello("pump-7", UUID(int=1), 1)
SOON = Deadlines(connect_s=1.0, piece_s=0.3, answer_s=0.3)
PATIENT = Deadlines(connect_s=5.0, piece_s=5.0, answer_s=5.0)


def unit_of(size_bytes: int) -> Unit:
    entry = Entry(0, 0, 0, size_bytes, 1, 1, bytes(size_bytes))
    return Unit("pump-7", UUID(int=1), 1, (), (Part("a", UUID(int=2), b"{}", 0, 1, (entry,)),))


def ask(url: str, deadlines: Deadlines = PATIENT) -> Holdings:
    upstream = HubUpstream(url, deadlines=deadlines)
    try:
        return upstream.handshake(HELLO)
    finally:
        upstream.close()


@pytest.mark.parametrize("behaviour", [peers.silent, peers.trickling])
def test_a_peer_that_is_silent_or_trickles_is_found_by_the_deadline(behaviour: Behaviour) -> None:
    with peer(behaviour) as url, pytest.raises(UnreachableError, match="silent for longer than allowed"):
        ask(url, SOON)


@pytest.mark.long
def test_a_peer_that_stops_reading_is_found_by_the_deadline() -> None:
    with peer(peers.deaf) as url:
        upstream = HubUpstream(url, deadlines=SOON)
        with pytest.raises(UnreachableError, match="silent for longer than allowed"):
            upstream.put(unit_of(32 << 20))
        upstream.close()


@pytest.mark.parametrize("behaviour", [peers.hangs_up, peers.breaks_off])
def test_a_peer_that_breaks_off_is_unreachable(behaviour: Behaviour) -> None:
    with peer(behaviour) as url, pytest.raises(UnreachableError, match=url):
        ask(url)


def test_nobody_listening_is_said_with_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"hub http://127.0.0.1:{port}: Connection refused"):
        ask(f"http://127.0.0.1:{port}")


def test_an_unknown_name_is_said_as_such() -> None:
    with pytest.raises(UnreachableError, match=r"the name 'hub\.invalid' is not known here"):
        ask("http://hub.invalid:7443")


PORTAL = b"<!doctype html><html><title>Welcome to HotelNet</title></html>"


@pytest.mark.parametrize(
    "page",
    [
        response("200 OK", "text/html", PORTAL),
        response("302 Found", "text/html", b"", "Location: http://login.hotel.example/"),
        response("511 Network Authentication Required", "text/html", PORTAL),
        response("404 Not Found", "application/json", b'{"detail": "Not Found"}'),
        response("200 OK", "application/json", b"[]"),
    ],
)
def test_whoever_is_no_hub_is_recognised(page: bytes) -> None:
    with peer(peers.answers(page)) as url, pytest.raises(UnreachableError, match="did not answer as a hub does"):
        ask(url)


def test_a_redirect_says_where_to() -> None:
    page = response("302 Found", "text/html", b"", "Location: http://login.hotel.example/")
    with peer(peers.answers(page)) as url, pytest.raises(UnreachableError, match=r"http://login\.hotel\.example/"):
        ask(url)


def test_the_right_type_with_the_wrong_content_is_no_answer() -> None:
    page = response("200 OK", "application/vnd.edge.mirror", PORTAL)
    with peer(peers.answers(page)) as url, pytest.raises(UnreachableError, match="not a mirror message"):
        ask(url)


def test_an_overloaded_proxy_is_busy_for_as_long_as_it_says() -> None:
    page = response("503 Service Unavailable", "text/html", PORTAL, "Retry-After: 7")
    with peer(peers.answers(page)) as url, pytest.raises(BusyError) as caught:
        ask(url)
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("node 'pump-7' is known here as another store", "Give it another [node] name."),
        DivergedError("a/0.0 ends at 12 here, the unit starts at 40"),
        BusyError("much to write", 2.5),
        UnreachableError("the store failed"),
    ],
)
def test_what_a_hub_says_comes_out_as_it_went_in(
    error: RefusedError | DivergedError | BusyError | UnreachableError,
) -> None:
    answer = answer_to(error)
    page = response(f"{answer.status} No", "application/json", answer.to_json())
    with peer(peers.answers(page)) as url, pytest.raises(type(error)) as caught:
        ask(url)
    assert str(error) in str(caught.value)
    if isinstance(error, RefusedError) and isinstance(caught.value, RefusedError):
        assert caught.value.remedy == error.remedy
    if isinstance(error, BusyError) and isinstance(caught.value, BusyError):
        assert caught.value.retry_after_s == error.retry_after_s


def test_a_wrong_token_is_refused_not_hammered() -> None:
    answer = Answer(401, "unauthorized", "the hub does not take this token", "Put the token there.")
    page = response("401 Unauthorized", "application/json", answer.to_json())
    with peer(peers.answers(page)) as url, pytest.raises(RefusedError) as caught:
        ask(url)
    assert caught.value.remedy == "Put the token there."


def test_a_connection_that_was_closed_while_idle_is_reopened_unseen() -> None:
    with peer(peers.answers(HOLDS_NOTHING, times=1)) as url:
        upstream = HubUpstream(url, deadlines=PATIENT)
        for _ in range(3):
            assert upstream.handshake(HELLO) == Holdings(None, 0, {})
        upstream.close()


@pytest.mark.long
def test_a_client_goes_on_after_every_kind_of_failure() -> None:
    portal = peers.answers(response("200 OK", "text/html", PORTAL))
    bad = [peers.silent, peers.hangs_up, peers.breaks_off, peers.trickling, portal]
    with peer(*bad, peers.answers(HOLDS_NOTHING)) as url:
        upstream = HubUpstream(url, deadlines=SOON)
        for _ in bad:
            with pytest.raises(UnreachableError):
                upstream.handshake(HELLO)
        assert upstream.handshake(HELLO) == Holdings(None, 0, {})
        upstream.close()


def test_one_connection_serves_many_requests() -> None:
    with peer(peers.answers(HOLDS_NOTHING), peers.hangs_up) as url:
        upstream = HubUpstream(url, deadlines=PATIENT)
        for _ in range(5):
            upstream.handshake(HELLO)
        upstream.close()


def test_a_proxy_that_refuses_in_the_middle_of_a_unit_is_quoted() -> None:
    page = response("413 Content Too Large", "text/html", b"", "Connection: close")
    with peer(peers.refuses_early(page)) as url:
        upstream = HubUpstream(url, deadlines=PATIENT)
        with pytest.raises(UnreachableError):
            upstream.put(unit_of(8 << 20))
        upstream.close()


def test_the_request_names_node_and_token() -> None:
    seen: list[bytes] = []

    def recording(link: socket.socket, over: object) -> None:
        seen.append(peers.read_request(link))
        link.sendall(HOLDS_NOTHING)

    with peer(recording) as url:
        upstream = HubUpstream(f"{url}/behind/a/proxy/", credentials=Credentials(token="secret"), deadlines=PATIENT)
        upstream.handshake(HELLO)
        upstream.close()
    lines = seen[0].split(b"\r\n")
    assert lines[0] == b"POST /behind/a/proxy/v1/mirror/hello HTTP/1.1"
    assert b"X-Edge-Node: pump-7" in lines
    assert b"Authorization: Bearer secret" in lines


def test_sent_is_named_between_the_request_and_the_answer() -> None:
    steps: list[str] = []

    def answering(link: socket.socket, over: object) -> None:
        peers.read_request(link)
        steps.append("request was read")
        link.sendall(HOLDS_NOTHING)

    with peer(answering) as url:
        upstream = HubUpstream(url, deadlines=PATIENT, trace=lambda step, details: steps.append(step))
        upstream.put(unit_of(10))
        upstream.close()
    assert sorted(steps) == ["request was read", "uplink.sent"]


@pytest.mark.parametrize("url", ["hub.example:7443", "ftp://hub", "https://", "http://hub?x=1", "https://me@hub:1"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="hub"):
        HubUpstream(url)


def test_certificate_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    upstream = HubUpstream("https://127.0.0.1:1", credentials=Credentials(ca_file=tmp_path / "missing.pem"))
    with pytest.raises(RefusedError, match=r"missing\.pem"):
        upstream.handshake(HELLO)
