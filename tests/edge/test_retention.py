"""The daemon gives up what upstreams and reader groups are done with, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import Append, FakeClock, Frame, SegmentStore
from tests.edge.running import node_of, write_config
from tests.edge.test_daemon import free_port, upstream

STREAM = '[[stream]]\nname = "plant/flow"\nretention = { consumed = true }\n'


def append(store: SegmentStore, *payloads: bytes) -> None:
    for payload in payloads:
        store.submit([Append("plant/flow", [Frame([payload])])]).result()


@pytest.mark.long
def test_what_a_reader_group_has_yet_to_read_is_kept_also_by_the_next_daemon(tmp_path: Path) -> None:
    config, clock = write_config(tmp_path, more=STREAM), FakeClock()
    with node_of(config, clock) as node:
        node.store.create_stream("plant/flow", node.stream_config("plant/flow"))
        append(node.store, b"0", b"1", b"2", b"3")
        node.watch_disk()
        assert len(list(node.store.read("plant/flow"))) == 4  # nobody reads it
        reader = node.store.reader_group("g", ["plant/flow"]).reader("r")
        assert len(reader.read(2)) == 2
        reader.close()
    with node_of(config, clock) as node:
        node.watch_disk()
        assert [event.payload for event in node.store.read("plant/flow")] == [b"2", b"3"]
        shown = node.stream_snapshot("plant/flow")
        assert [(drop.reason, drop.events) for drop in shown.dropped] == [("consumed", 2)]


@pytest.mark.long
def test_what_no_upstream_has_yet_is_kept_whoever_has_read_it(tmp_path: Path) -> None:
    with node_of(write_config(tmp_path, more=STREAM + upstream(free_port())), FakeClock()) as node:
        node.store.create_stream("plant/flow", node.stream_config("plant/flow"))
        append(node.store, b"0", b"1")
        reader = node.store.reader_group("g", ["plant/flow"]).reader("r")
        reader.read()
        reader.close()
        node.watch_disk()
        assert [event.payload for event in node.store.read("plant/flow")] == [b"0", b"1"]
