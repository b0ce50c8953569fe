"""The command line against a daemon that runs: the same results and exit codes that scripts depend on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge import Client, DaemonUnreachableError
from tests.edge.running import Finished, Node, edge, lines_of, running, write_config
from tests.waiting import until

SOURCE = '[[source]]\nname = "signal"\ndriver = "synthetic"\nstream = "plant/signal"\n'


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    config = write_config(tmp_path_factory.mktemp("node"), more=SOURCE)
    with running(config) as started:
        yield started


def numbers(done: Finished) -> list[object]:
    return [json.loads(line)["number"] for line in done.out.splitlines()]


@pytest.mark.long
def test_what_was_written_is_read_back_in_order(node: Node) -> None:
    written = node.edge("write", "cli/a", "--writer", "plc-1", "--key", "pump-7", stdin=lines_of(["12.7", "", "12.9"]))
    assert (written.code, written.out, written.err) == (0, "", "edge: 3 stored in cli/a\n")
    read = node.edge("--json", "read", "cli/a")
    events = [json.loads(line) for line in read.out.splitlines()]
    assert [event["payload"] for event in events] == ["12.7", "", "12.9"]
    # Whether this machine's clock is trusted is not the matter here.
    assert [name for name in events[0] if name != "time_uncertain"] == [
        "stream", "position", "next", "time_ns", "key", "writer", "number", "content_type", "payload",
    ]  # fmt: skip
    assert [(event["key"], event["writer"], event["number"]) for event in events] == [
        ("pump-7", "plc-1", 0),
        ("pump-7", "plc-1", 1),
        ("pump-7", "plc-1", 2),
    ]


@pytest.mark.long
def test_bytes_that_are_no_text_go_through(node: Node) -> None:
    node.edge("write", "cli/bytes", stdin=b"\xff\x00\n")
    event = json.loads(node.edge("--json", "read", "cli/bytes").out)
    assert event["payload_base64"] == "/wA="
    assert "payload" not in event


@pytest.mark.long
def test_a_number_already_stored_is_a_success_and_not_stored_again(node: Node) -> None:
    node.edge("write", "cli/b", "--writer", "w", "--number", "0", stdin=lines_of(["a", "b", "c"]))
    again = node.edge("write", "cli/b", "--writer", "w", "--number", "1", stdin=lines_of(["b", "c", "d"]))
    assert (again.code, again.err) == (0, "edge: 1 stored, 2 already stored in cli/b\n")
    assert numbers(node.edge("--json", "read", "cli/b")) == [0, 1, 2, 3]


@pytest.mark.long
def test_without_a_number_it_goes_on_from_the_writers_last(node: Node) -> None:
    for payload in ("a", "b"):
        node.edge("write", "cli/c", "--writer", "w", stdin=lines_of([payload]))
    assert numbers(node.edge("--json", "read", "cli/c")) == [0, 1]


@pytest.mark.long
def test_a_gap_in_the_numbers_is_refused_and_says_how_far_it_is_safe(node: Node) -> None:
    node.edge("write", "cli/d", "--writer", "w", stdin=lines_of(["a"]))
    done = node.edge("write", "cli/d", "--writer", "w", "--number", "5", stdin=lines_of(["b"]))
    assert done.code == 1
    assert "nothing is known to be stored; send the lines from there again with --writer w --number 5" in done.err


def test_a_number_needs_a_writer(node: Node) -> None:
    assert node.edge("write", "cli/d", "--number", "5").code == 2


@pytest.mark.long
def test_many_lines_go_through_in_few_commits(node: Node) -> None:
    before = node.client.status().store.last_commit
    done = node.edge("--json", "write", "cli/many", "--writer", "w", stdin=lines_of([str(n) for n in range(50_000)]))
    assert json.loads(done.out)["stored"] == 50_000
    assert node.client.stream("cli/many").events == 50_000
    assert node.client.status().store.last_commit - before < 500


@pytest.mark.long
def test_a_read_stops_at_a_limit_and_before_a_position(node: Node) -> None:
    node.edge("write", "cli/e", stdin=lines_of(["a", "b", "c", "d"]))
    events = [json.loads(line) for line in node.edge("--json", "read", "cli/e", "--limit", "3").out.splitlines()]
    assert [event["payload"] for event in events] == ["a", "b", "c"]
    part = node.edge("--json", "read", "cli/e", "--from", events[1]["position"], "--to", events[2]["next"])
    assert [json.loads(line)["payload"] for line in part.out.splitlines()] == ["b", "c"]
    assert node.edge("read", "cli/e", "--from", "tail").out == ""
    assert len(node.edge("read", "cli/e", "--from", "15m").out.splitlines()) == 4


def test_a_person_gets_a_line_that_no_payload_can_break_out_of(node: Node) -> None:
    node.edge("write", "cli/f", "--key", "k", stdin=b"\x1b[2Jboo\rfoo\n")
    line = node.edge("read", "cli/f").out
    assert line.endswith("  0.0:0  k  \\x1b[2Jboo\\rfoo\n")


def test_a_place_that_is_none_is_refused_with_an_example(node: Node) -> None:
    node.edge("write", "cli/g", stdin=b"a\n")
    done = node.edge("read", "cli/g", "--from", "yesterday")
    assert done.code == 1
    assert "15m" in done.err


@pytest.mark.long
def test_an_unknown_stream_names_the_nearest(node: Node) -> None:
    node.edge("write", "cli/nearest", stdin=b"a\n")
    done = node.edge("read", "cli/nearst")
    assert done.code == 1
    assert "cli/nearest" in done.err


@pytest.mark.long
def test_tail_prints_what_comes_and_ctrl_c_ends_it_quietly(node: Node) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "edge", "--config", str(node.config), "--json", "tail", "plant/signal"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["stream"] == "plant/signal"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


@pytest.mark.long
def test_a_reader_that_closes_the_pipe_is_no_error(node: Node) -> None:
    command = f"{sys.executable} -m edge --config {node.config} read cli/many | head -n 1"
    node.edge("write", "cli/many", stdin=lines_of([str(n) for n in range(50_000)]))
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.long
def test_status_streams_and_sources_on_the_screen_and_as_json(node: Node) -> None:
    until(lambda: any(s.name == "plant/signal" for s in node.client.streams()), "the first reading")
    assert node.edge("status").out.startswith("● Safe: all ")
    status = json.loads(node.edge("status", "--json").out)
    assert status["node"] == "pump-7"
    assert [source["name"] for source in status["sources"]] == ["signal"]
    assert "plant/signal" in node.edge("streams").out
    assert json.loads(node.edge("--json", "streams", "plant/signal").out)["segments"][0]["epoch"] == 0
    assert "● running" in node.edge("sources").out
    assert json.loads(node.edge("--json", "sync").out) == {"uplinks": []}


@pytest.mark.long
def test_a_source_is_paused_and_resumed(node: Node) -> None:
    assert node.edge("sources", "signal", "pause").code == 0
    until(lambda: node.client.sources()[0].state == "PAUSED", "the source to pause")
    assert node.edge("sources", "signal", "resume").code == 0
    until(lambda: node.client.sources()[0].state == "RUNNING", "the source to go on")
    done = node.edge("sources", "singal", "pause")
    assert (done.code, done.err) == (1, 'edge: no source is called "singal"; there are: signal\n')


@pytest.mark.long
def test_options_work_before_and_after_the_verb(node: Node) -> None:
    before = edge("--socket", str(node.socket), "--json", "sources")
    after = edge("sources", "--json", "--socket", str(node.socket))
    assert before.code == after.code == 0
    assert json.loads(before.out)["sources"][0]["name"] == json.loads(after.out)["sources"][0]["name"]


@pytest.mark.long
def test_check_asks_the_daemon_and_says_who_has_a_locked_store(node: Node) -> None:
    assert node.edge("check").out.startswith(f"ok: the store of the daemon at {node.socket}: ")
    offline = edge("check", str(node.config.parent / "data"))
    assert offline.code == 1
    assert f"is in use by process {node.process.pid}: stop it first" in offline.err


@pytest.mark.long
def test_check_of_a_directory_that_nobody_uses(tmp_path: Path) -> None:
    with running(write_config(tmp_path)) as stopped:
        stopped.edge("write", "a", stdin=b"x\n")
    done = edge("--config", str(stopped.config), "check")
    assert done.code == 0
    assert "no daemon runs" in done.err
    assert done.out.startswith(f"ok: {tmp_path}/data: 1 event in 1 blocks, ")
    assert json.loads(edge("--json", "check", str(tmp_path / "data")).out)["ok"] is True


def test_a_daemon_that_cannot_be_reached_is_exit_3_and_says_what_to_do(tmp_path: Path) -> None:
    done = edge("--socket", str(tmp_path / "no.sock"), "status")
    assert done.code == 3
    assert done.err == (
        f"edge: {tmp_path}/no.sock: no such socket. Is the daemon running (systemctl status edge)? "
        "Does it use another socket (edge --socket PATH, or --config FILE)?\n"
    )


@contextmanager
def nobody() -> Iterator[None]:
    """As a user without rights, where this is one with all of them."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_socket_that_may_not_be_opened_names_the_group(node: Node) -> None:
    node.socket.chmod(0)
    try:
        with nobody(), pytest.raises(DaemonUnreachableError, match="Members of the group edge may use it"):
            node.client.status()
    finally:
        node.socket.chmod(0o660)


@pytest.mark.long
@pytest.mark.parametrize("arguments", [["bogus"], ["status", "--bogus"], ["read"], ["sources", "a", "bogus"], []])
def test_wrong_usage_is_exit_2(arguments: list[str]) -> None:
    assert edge(*arguments).code == 2


def test_config_check_says_what_would_run(tmp_path: Path) -> None:
    config = write_config(tmp_path, more=SOURCE)
    done = edge("--config", str(config), "config", "check")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"ok\nnode pump-7: data in {tmp_path}/data, local API at {tmp_path}/edge.sock\n"
        "source signal: synthetic into plant/signal\n"
    )


@pytest.mark.long
def test_config_check_of_a_wrong_file_is_exit_2_and_on_standard_error(tmp_path: Path) -> None:
    config = write_config(tmp_path, more=SOURCE + "sped = 1\n")
    done = edge("--config", str(config), "config", "check")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"edge: {config}:9: source[0].sped: unknown key")
    assert json.loads(edge("--config", str(config), "--json", "config", "check").out)["ok"] is False


@pytest.mark.long
def test_the_client_of_the_readme(node: Node) -> None:
    client = Client(node.socket)
    answer = client.write("cli/client", [b"1", b"2"], key="k", writer="w", number=0)
    assert (answer.stored, answer.duplicates, str(answer.position)) == (2, 0, "0.0:0")
    assert client.write("cli/client", [b"1", b"2"], key="k", writer="w", number=0).duplicates == 2
    assert client.last_number("cli/client", "w") == 1
    assert client.last_number("cli/client", "nobody") is None
    assert [event.payload for event in client.read("cli/client")] == [b"1", b"2"]
    client.write("cli/client", [b"3"])
    assert [event.payload for event in client.read("cli/client", "head", limit=3, follow=True)] == [b"1", b"2", b"3"]
