"""One limit over everything on disk, chunks included: a bulk stream gives up its oldest chunks, and nothing else for them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from storage import Append, Frame, Gap, GapReason, SegmentStore, StreamConfig, Ticket
from storage.kv.memory import MemoryTwin
from tests.storage.mirrored import replicate

LIMIT = 2_000_000


class Camera:
    """A store on the twin under a limit, a camera and a meter on it, and what is on its disk at every write."""

    def __init__(self, camera: StreamConfig, meter: StreamConfig) -> None:
        self.twin = MemoryTwin()
        self.store = SegmentStore.in_memory(self.twin, disk_limit=LIMIT)
        self.random = random.Random(7)
        self.peak = 0
        self.sent: dict[str, list[bytes]] = {"cam": [], "meter": []}
        self.store.create_stream("cam", camera)
        self.store.create_stream("meter", meter)

    def append(self, stream: str, size: int) -> Ticket:
        payload = b"%06d" % len(self.sent[stream]) + self.random.randbytes(size)
        ticket = self.store.submit([Append(stream, [Frame([payload], writer="w", number=len(self.sent[stream]))])])
        self.sent[stream].append(payload)
        self.store.commit()
        self.peak = max(self.peak, self.twin.used_bytes)
        return ticket

    def live(self, stream: str) -> list[bytes]:
        return [event.payload for event in self.store.read(stream)]


def bulk(when_full: str = "drop-oldest", priority: int = 10) -> StreamConfig:
    return StreamConfig(kind="bulk", when_full=when_full, priority=priority)


@pytest.mark.long
@pytest.mark.parametrize("when_full", ["drop-oldest", "thin"])
def test_the_oldest_chunks_go_and_the_limit_holds(when_full: str) -> None:
    camera = Camera(bulk(when_full), StreamConfig(when_full=when_full))
    for number in range(1500):
        assert camera.append("cam", 9000).done()
        if number % 10 == 0:
            assert camera.append("meter", 100).done()
    assert camera.peak <= LIMIT
    assert camera.twin.used_bytes > 0.8 * LIMIT
    live = camera.live("cam")
    assert live == camera.sent["cam"][-len(live) :]
    dropped = camera.store.stream("cam").dropped["disk_limit"]
    assert dropped.events == 1500 - len(live)
    assert camera.twin.chunks.numbers() == sorted(camera.store._catalog.chunks)
    assert camera.store.check().findings == []


@pytest.mark.long
def test_readings_of_a_higher_priority_stay_whole_beside_the_newest_video() -> None:
    camera = Camera(bulk(priority=5), StreamConfig(when_full="drop-oldest", priority=20))
    for number in range(600):
        camera.append("cam", 9000)
        camera.append("meter", 50)
        assert number < 150 or len(camera.live("cam")) > 100
    assert camera.live("meter") == camera.sent["meter"]
    assert camera.store.stream("meter").dropped == {}
    assert camera.peak <= LIMIT


def test_a_camera_that_blocks_loses_nothing_and_goes_on_when_upstream_confirms() -> None:
    camera = Camera(bulk("block"), StreamConfig())
    tickets: list[Ticket] = []
    while camera.store.blocked is None:
        tickets.append(camera.append("cam", 9000))
        assert len(tickets) < 1000
    assert "cam (about" in (camera.store.blocked or "")
    assert camera.live("cam") == camera.sent["cam"][: len(tickets) - 1]
    camera.store.retain({"cam": 0})
    assert not camera.store.commit()
    assert camera.store.outlook().stream == "cam"
    camera.store.retain({"cam": camera.store.last_commit - 100})
    assert camera.store.outlook().reclaimable_bytes > 100_000
    assert camera.store.commit()
    assert tickets[-1].done()
    live = camera.live("cam")
    assert live == camera.sent["cam"][-len(live) :]
    assert len(live) >= 100
    assert camera.peak <= LIMIT


@pytest.mark.long
def test_what_goes_never_cuts_into_a_commit() -> None:
    twin = MemoryTwin()
    with SegmentStore.in_memory(twin, disk_limit=LIMIT) as store:
        store.create_stream("cam", bulk())
        for number in range(300):
            # Two blocks each, which may lie in two chunks.
            frames = [
                Frame([b"%04d" % number + bytes(20)], "a", key_frame=True),
                Frame([b"%04d" % number + random.Random(number).randbytes(29_000)], "b"),
            ]
            store.submit([Append("cam", frames)]).result()
            first = next(iter(store.read("cam", limit=1)))
            assert first.routing_key == "a"
        assert store.stream("cam").dropped["disk_limit"].events > 100


@pytest.mark.long
def test_a_hub_is_told_of_video_given_up_before_it_was_sent() -> None:
    camera = Camera(bulk(), StreamConfig())
    hub = SegmentStore.in_memory()
    for _ in range(50):
        camera.append("cam", 9000)
    replicate(camera.store, hub)
    for _ in range(400):
        camera.append("cam", 9000)
    replicate(camera.store, hub)
    gaps: list[Gap] = []
    events = list(hub.read("g/cam", on_gap=gaps.append))
    kept = camera.live("cam")
    assert [event.payload for event in events][-len(kept) :] == kept
    assert [gap.reason for gap in gaps] == [GapReason.DROPPED]
    assert len(events) + sum(gap.events or 0 for gap in gaps) == 450


@pytest.mark.long
def test_a_limit_over_real_files_holds(tmp_path: Path) -> None:
    limit = 32 << 20
    path = tmp_path / "store"
    peak = 0
    with SegmentStore.open(path, disk_limit=limit) as store:
        store.create_stream("cam", bulk())
        store.create_stream("meter", StreamConfig(when_full="drop-oldest", priority=20))
        chance = random.Random(1)
        for number in range(800):
            appends = [Append("cam", [Frame([chance.randbytes(250_000)], writer="w", number=number)])]
            appends.append(Append("meter", [Frame([b"%d" % number], writer="w", number=number)]))
            store.submit(appends).result()
            if number % 10 == 0:
                peak = max(peak, store.disk_bytes())
        assert 0.85 * limit < peak <= limit
        events = list(store.read("cam"))
        assert [event.number for event in events] == list(range(800 - len(events), 800))
        assert len(list(store.read("meter"))) == 800
        assert store.check().findings == []
