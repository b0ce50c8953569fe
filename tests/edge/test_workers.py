"""A thread around each device: one that hangs is shown, left behind, and harms nobody else."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from random import Random

import pytest

from drivers.contract import Delivery, SourceSettings
from drivers.fake import FakeConfig, FakeDevice, FakeDriver
from drivers.source import Source
from edge.daemon import snapshots
from edge.daemon.committer import Committer
from edge.daemon.scrubbing import ScrubWorker
from edge.daemon.snapshots import source_snapshot
from edge.daemon.workers import SourceWorker
from storage.clock import SystemClock
from storage.kv.memory import MemoryTwin
from storage.store import SegmentStore
from tests.storage.counts import damage
from tests.waiting import until


class HangingDriver(FakeDriver):
    """Its device never answers, until the test lets it."""

    let_go = threading.Event()

    def poll(self, timeout_s: float) -> Delivery | None:
        self.let_go.wait(60)
        return None


def worker(store: SegmentStore, name: str, device: FakeDevice, kind: type[FakeDriver]) -> SourceWorker:
    settings = SourceSettings(name=name, driver="fake", stream=f"plant/{name}")
    clock = SystemClock()
    source = Source(
        lambda: kind(device, settings, clock, FakeConfig()),
        settings,
        store,
        clock=clock,
        random=Random(1),
    )
    return SourceWorker(source)


@pytest.mark.long
def test_a_device_that_hangs_is_shown_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "STUCK_S", 0.2)
    clock = SystemClock()
    with closing(SegmentStore.in_memory()) as store:
        committer = Committer(store, threading.Event().set)
        committer.start()
        device = FakeDevice()
        stuck, well = worker(store, "stuck", FakeDevice(), HangingDriver), worker(store, "well", device, FakeDriver)
        stuck.start()
        well.start()
        until(lambda: source_snapshot(stuck, clock).state == "STUCK", "the hanging device to be noticed")
        assert "has not answered for" in source_snapshot(stuck, clock).detail
        device.say(b"still here")
        until(lambda: device.acknowledged == [b"still here"], "the healthy device to be stored and acknowledged")
        until(lambda: time.monotonic() - committer.beat_s < 1, "the committer's progress, which feeds the watchdog")
        for each in (stuck, well):
            each.ask_to_stop()
        assert well.join(time.monotonic() + 30)
        assert not stuck.join(time.monotonic())
        HangingDriver.let_go.set()
        assert stuck.join(time.monotonic() + 30)
        committer.stop()


def test_a_source_is_stopped_between_its_steps(caplog: pytest.LogCaptureFixture) -> None:
    with closing(SegmentStore.in_memory()) as store:
        device = FakeDevice()
        one = worker(store, "one", device, FakeDriver)
        one.start()
        until(lambda: device.polls > 0, "the first poll")
        one.ask_to_stop()
        assert one.join(time.monotonic() + 30)
        assert device.closed == 1


def test_what_the_disk_lost_is_found_without_anybody_asking_for_it(caplog: pytest.LogCaptureFixture) -> None:
    twin = MemoryTwin()
    with closing(SegmentStore.in_memory(twin)) as store:
        store.create_stream("s")
        for number in range(3):
            store.writer("s").append(b"%d" % number).result()
        offset = [event.position.offset for event in store.read("s")][1]
    damage(twin, 1, offset)
    with closing(SegmentStore.in_memory(twin)) as store:
        assert store.recovery == ()
        scrub = ScrubWorker(store)
        for _ in range(10):
            assert scrub.step() > 0
        [gap] = store.gaps("s")
        assert gap.position.offset == offset
        assert "1 events" in caplog.text
