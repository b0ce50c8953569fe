"""What is gone at the gateway is shown at the hub as what it is: a gap, at the same place, for the same reason."""

from __future__ import annotations

import shutil
from pathlib import Path

from storage import SegmentStore
from storage.clock import FakeClock
from storage.model import Gap, GapReason
from sync.fake import LoopbackUpstream
from sync.hub.receiver import Receiver
from sync.replicator import LinkState
from sync.uplink import Uplink


def drained(store: SegmentStore, hub: SegmentStore) -> None:
    uplink = Uplink("hub", "pump-7", store, LoopbackUpstream(Receiver(hub)), clock=FakeClock(), random=lambda: 0.5)
    while uplink.step(0.0) == 0.0:
        pass
    assert uplink.status().problem is None
    assert uplink.state is LinkState.LIVE


def crashed(data_dir: Path) -> Path:
    """What a power cut leaves of a store that is open, with a bit flipped in its log, in the event in the middle."""
    left = data_dir.with_name("left")
    shutil.copytree(data_dir, left)
    log = max((left / "db").glob("*.log"), key=lambda path: path.stat().st_size)
    content = bytearray(log.read_bytes())
    content[content.index(b"event 50")] ^= 0x10
    log.write_bytes(content)
    return left


def write_hundred(store: SegmentStore) -> None:
    store.create_stream("a")
    writer = store.writer("a", "w")
    for number in range(100):
        writer.append(f"event {number}".encode()).result()


def places(gaps: list[Gap]) -> list[tuple[str, str, GapReason, int | None]]:
    return [(str(gap.position), str(gap.next), gap.reason, gap.events) for gap in gaps]


def test_a_damaged_range_is_a_gap_upstream_too(tmp_path: Path) -> None:
    with SegmentStore.open(tmp_path / "store") as store:
        write_hundred(store)
        left = crashed(tmp_path / "store")
    with SegmentStore.open(left) as store, SegmentStore.in_memory() as hub:
        assert store.gaps("a"), "the flipped bit hit nothing"
        store.writer("a", "w").append(b"after").result()
        drained(store, hub)
        assert places(hub.gaps("pump-7/a")) == places(store.gaps("a"))
        here = [(str(event.position), event.payload) for event in store.read("a")]
        there = [(str(event.position), event.payload) for event in hub.read("pump-7/a")]
        assert there == here
        assert there[-1][1] == b"after"
        assert len(there) < 101


def test_what_was_upstream_before_the_damage_stays_there_and_the_rest_follows(tmp_path: Path) -> None:
    with SegmentStore.in_memory() as hub:
        with SegmentStore.open(tmp_path / "store") as store:
            write_hundred(store)
            drained(store, hub)
            left = crashed(tmp_path / "store")
        with SegmentStore.open(left) as store:
            assert store.gaps("a"), "the flipped bit hit nothing"
            store.writer("a", "w").append(b"after").result()
            drained(store, hub)
        assert hub.gaps("pump-7/a") == []
        payloads = [event.payload for event in hub.read("pump-7/a")]
        assert payloads == [f"event {number}".encode() for number in range(100)] + [b"after"]
