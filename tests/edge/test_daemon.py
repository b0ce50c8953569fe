"""The daemon: what it survives, what ends it, and what it says."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge import Client, DaemonUnreachableError
from edge.config import load
from edge.daemon import run
from edge.daemon.run import Signals
from storage.errors import StoreFailedError
from storage.store import SegmentStore
from tests.edge.running import answers, edge, lines_of, running, stop, write_config
from tests.waiting import until

SYNTHETIC = '[[source]]\nname = "signal"\ndriver = "synthetic"\nstream = "plant/signal"\n'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def upstream(port: int) -> str:
    return f'[[upstream]]\nname = "hub"\nurl = "http://127.0.0.1:{port}"\n'


@pytest.mark.long
def test_a_gateway_without_its_hub_captures_at_once_and_drains_when_it_comes(tmp_path: Path) -> None:
    port = free_port()
    with running(write_config(tmp_path / "gateway", more=SYNTHETIC + upstream(port))) as gateway:
        until(lambda: gateway.client.sources()[0].events > 0, "an event without a hub")
        sentence = gateway.edge("status").out.splitlines()[0]
        assert sentence.startswith("◐ Holding ")
        assert sentence.endswith(f"until hub is back: hub http://127.0.0.1:{port}: Connection refused")
        gateway.edge("write", "plant/notes", "--writer", "w", stdin=lines_of(["a", "b"]))
        with running(write_config(tmp_path / "hub", "hub", f'[hub]\nlisten = "127.0.0.1:{port}"\n')) as hub:
            until(lambda: any(s.name == "pump-7/plant/notes" for s in hub.client.streams()), "the notes at the hub")
            here = [json.loads(x) for x in gateway.edge("--json", "read", "plant/notes").out.splitlines()]
            there = [json.loads(x) for x in hub.edge("--json", "read", "pump-7/plant/notes").out.splitlines()]
            assert [event.pop("stream") for event in there] == ["pump-7/plant/notes"] * 2
            assert [event.pop("stream") for event in here] == ["plant/notes"] * 2
            assert here == there
            until(lambda: gateway.client.uplinks()[0].state == "LIVE", "the uplink to be live")
            assert hub.edge("status").out.startswith("● Safe: ")


@pytest.mark.long
def test_a_hub_that_asks_for_tokens_takes_the_right_one_and_names_the_remedy_for_a_wrong_one(tmp_path: Path) -> None:
    port, right = free_port(), "r" * 32
    (tmp_path / "tokens").write_text(f'"pump-7" = "{right}"\n')
    (tmp_path / "wrong").write_text("w" * 32)
    (tmp_path / "right").write_text(right)
    hub = write_config(tmp_path / "hub", "hub", f'[hub]\nlisten = "127.0.0.1:{port}"\ntokens_file = "../tokens"\n')
    config = write_config(tmp_path / "gateway", more=SYNTHETIC + upstream(port) + 'token_file = "../wrong"\n')
    with running(hub), running(config) as gateway:
        until(lambda: "token_file" in gateway.client.uplinks()[0].detail, "the remedy for a wrong token")
        config.write_text(config.read_text().replace("../wrong", "../right"))
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: gateway.client.uplinks()[0].sent_events > 0, "events at the hub after the reload")


@pytest.mark.long
def test_a_missing_device_is_shown_and_harms_nobody(tmp_path: Path) -> None:
    serial = '[[source]]\nname = "flow"\ndriver = "serial"\nport = "/dev/ttyNowhere"\nstream = "plant/flow"\n'
    with running(write_config(tmp_path, more=serial + SYNTHETIC)) as node:
        until(lambda: node.client.sources()[1].events > 0, "the healthy source")
        until(lambda: node.client.sources()[0].state == "BACKOFF", "the missing port to be noticed")
        lines = " ".join(node.edge("status").out.split())
        assert "✗ Not capturing from flow." in lines
        assert "flow: /dev/ttyNowhere is not there" in lines
        assert "it is tried again by itself" in lines


@pytest.mark.long
def test_sigterm_closes_everything_and_is_exit_0(tmp_path: Path) -> None:
    with running(write_config(tmp_path, more=SYNTHETIC)) as node:
        until(lambda: node.client.sources()[0].events > 0, "an event")
        assert stop(node.process) == 0
        assert "stopped; everything acknowledged is on disk" in node.log.read_text()
        assert not node.socket.exists()
    report = SegmentStore.check_directory(tmp_path / "data" / "store")
    assert report.ok


@pytest.mark.long
def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with running(config) as node:
        assert node.edge("write", "a", "--writer", "w", stdin=lines_of(["1", "2"])).code == 0
        node.process.kill()
        node.process.wait()
    with running(config) as node:
        assert [event.payload for event in node.client.read("a")] == [b"1", b"2"]
        assert node.client.last_number("a", "w") == 1


@pytest.mark.long
def test_a_read_that_a_kill_cuts_off_is_an_error_and_no_end(tmp_path: Path) -> None:
    """What a reader has seen must not look like all that there is."""
    with running(write_config(tmp_path)) as node:
        node.edge("write", "a", stdin=lines_of(["x" * 1000] * 20_000))
        events = node.client.read("a")
        next(events)
        node.process.kill()
        node.process.wait()
        with pytest.raises(DaemonUnreachableError, match="went away during the request"):
            list(events)


@pytest.mark.long
def test_an_interrupted_write_says_how_far_it_is_safe(tmp_path: Path) -> None:
    with running(write_config(tmp_path)) as node:
        command = [sys.executable, "-m", "edge", "--config", str(node.config), "write", "a", "--writer", "w"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as write:
            assert write.stdin is not None
            write.stdin.write(b"1\n2\n")
            write.stdin.flush()
            until(lambda: node.client.last_number("a", "w") == 1, "both lines on disk, with more to come")
            write.stdin.write(b"3\n")
            write.stdin.flush()
            until(lambda: node.client.last_number("a", "w") == 2, "the third on disk")
            # It has sent the third, so it knows of the first two. Of the third it may or may not have heard by now.
            write.send_signal(signal.SIGINT)
            assert write.stderr is not None
            said = write.stderr.read().decode().splitlines()
            assert said in [
                [
                    f"edge: interrupted; safe up to number {known - 1}; send the lines from there again with --writer w "
                    f"--number {known}",
                    f"edge: {known} stored in a",
                ]
                for known in (2, 3)
            ]
            assert write.wait(30) == 1


@pytest.mark.long
def test_a_wrong_configuration_is_exit_2_before_anything_is_touched(tmp_path: Path) -> None:
    config = write_config(tmp_path, more=SYNTHETIC + "sped = 1\n")
    done = edge("--config", str(config), "run")
    assert done.code == 2
    assert done.err.startswith(f"edge: {config}:9: source[0].sped: unknown key")
    assert not (tmp_path / "data").exists()


@pytest.mark.long
def test_a_store_that_another_process_has_open_is_exit_1_and_names_it(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with running(config) as node:
        done = edge("--config", str(config), "run")
        assert done.code == 1
        assert f"can't start: the store at {tmp_path}/data/store is in use by process {node.process.pid}" in done.err
        assert node.client.status().node == "pump-7"


@pytest.mark.long
def test_a_store_of_a_newer_format_is_exit_1_and_left_alone(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with running(config):
        pass
    form = tmp_path / "data" / "store" / "FORMAT"
    form.write_text(json.dumps({"format": 2, "store": json.loads(form.read_text())["store"]}))
    before = form.read_text()
    done = edge("--config", str(config), "run")
    assert done.code == 1
    assert "has format 2, this program knows 1: it was written by a newer edge; install that version again" in done.err
    assert form.read_text() == before
    assert edge("check", str(tmp_path / "data")).code == 1


@pytest.mark.long
def test_a_data_directory_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace('"data"', '"file/data"'))
    done = edge("--config", str(config), "run")
    assert done.code == 1
    assert "Set [node] data_dir to a directory that this user may write to" in done.err


@pytest.mark.long
def test_a_hub_address_that_is_taken_does_not_keep_the_gateway_from_capturing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running(write_config(tmp_path, more=SYNTHETIC + f'[hub]\nlisten = "127.0.0.1:{port}"\n')) as node:
            until(lambda: node.client.sources()[0].events > 0, "an event")
            until(lambda: any("can't listen" in text for text in node.client.status().notices), "the notice")


@pytest.mark.long
def test_a_reload_starts_stops_and_keeps_sources_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path, more=SYNTHETIC)
    good = config.read_text()
    with running(config) as node:
        config.write_text(good + "sped = 1\n")
        node.process.send_signal(signal.SIGHUP)
        until(lambda: "not reloaded" in node.log.read_text(), "the refusal")
        assert [source.name for source in node.client.sources()] == ["signal"]
        config.write_text(good + SYNTHETIC.replace("signal", "other"))
        node.process.send_signal(signal.SIGHUP)
        until(lambda: len(node.client.sources()) == 2, "the second source")
        config.write_text(good.replace("pump-7", "pump-8"))
        node.process.send_signal(signal.SIGHUP)
        until(lambda: "[node] needs a restart" in node.log.read_text(), "what needs a restart")
        assert [source.name for source in node.client.sources()] == ["signal"]
        assert node.client.status().node == "pump-7"


def test_a_failed_sync_ends_the_program_so_that_systemd_starts_it_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a sync failed nothing may be called durable: the program must not go on."""
    broken = threading.Event()

    def failing_disk(step: str, details: dict[str, object]) -> None:
        if step == "commit.written" and broken.is_set():
            raise StoreFailedError("fsync failed: Input/output error")

    codes: list[int] = []
    config = load(write_config(tmp_path))
    node = threading.Thread(target=lambda: codes.append(run(config, trace=failing_disk, signals=Signals())))
    node.start()
    until(lambda: answers(config.node.socket), "an answer")
    broken.set()
    writer = threading.Thread(target=_write_in_vain, args=(config.node.socket,))
    writer.start()
    node.join(30)
    writer.join(30)
    assert codes == [1]
    assert "nothing can be made durable any more: fsync failed: Input/output error" in caplog.text


def _write_in_vain(path: Path) -> None:
    with pytest.raises(Exception, match=r"fsync failed|went away|closed"):
        Client(path).write("a", [b"x"])
