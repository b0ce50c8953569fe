"""The replay driver: what was recorded comes again as it was, in its own time, each event once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drivers.contract import Delivery, DeviceLostError, DriverConfigError, SourceSettings
from drivers.fake import RecordingSink
from drivers.replay import ReplayConfig, ReplayDriver
from edge.events import event_line
from storage import FakeClock, Frame, SegmentStore
from storage.kv.memory import MemoryTwin
from storage.model import Append
from tests.drivers.running import Running

SETTINGS = SourceSettings(name="again", driver="replay", stream="demo/again")
SECOND_NS = 1_000_000_000


def recording(folder: Path, *lines: object) -> Path:
    path = folder / "recorded.jsonl"
    path.write_text("".join(line if isinstance(line, str) else f"{json.dumps(line)}\n" for line in lines))
    return path


def reading(number: int, at_s: float, **more: object) -> dict[str, object]:
    return {"time_ns": int(at_s * SECOND_NS), "payload": str(number), **more}


def opened(path: Path, clock: FakeClock, state: bytes | None = None, **config: object) -> ReplayDriver:
    driver = ReplayDriver(ReplayConfig(path=path, **config), SETTINGS, clock)  # type: ignore[arg-type]
    driver.open(state)
    return driver


def payloads(delivery: Delivery | None) -> list[bytes]:
    if delivery is None:
        return []
    return [payload for append in delivery.appends for frame in append.frames for payload in frame.payloads]


def test_what_a_store_prints_comes_again_as_it_was(tmp_path: Path) -> None:
    store = SegmentStore.in_memory(MemoryTwin())
    store.create_stream("a")
    headers = (("topic", b"site/1"), ("raw", b"\xff"))
    frames = [Frame([b"1", b"\xff\x00"], "pump-1", "text/plain", headers), Frame([b"3"], "pump-2")]
    store.submit([Append("a", frames)]).result()
    path = recording(tmp_path, *(event_line(event) for event in store.read("a")))
    delivery = opened(path, FakeClock(), speed=0).poll(0)
    assert delivery is not None
    played = [
        (frame.payloads, frame.routing_key, frame.content_type, frame.headers) for frame in delivery.appends[0].frames
    ]
    assert played == [([b"1", b"\xff\x00"], "pump-1", "text/plain", headers), ([b"3"], "pump-2", "", ())]


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0])
def test_events_come_as_far_apart_as_they_were_recorded(speed: float, tmp_path: Path) -> None:
    clock = FakeClock()
    path = recording(tmp_path, reading(1, 100), reading(2, 101), reading(3, 103), reading(4, 102), reading(5, 110))
    driver = opened(path, clock, speed=speed)
    started_ns = clock.boot_ns()
    assert payloads(driver.poll(0)) == [b"1"]
    assert driver.poll(0) is None
    clock.advance(3.5 / speed)
    delivery = driver.poll(0)
    assert payloads(delivery) == [b"2", b"3", b"4"]
    assert delivery is not None
    times_ns = delivery.appends[0].frames[0].times_ns
    assert times_ns is not None
    since_s = [(time_ns - started_ns) / SECOND_NS * speed for time_ns in times_ns]
    assert since_s == pytest.approx([1, 3, 3]), "what goes back in time is due at once"
    clock.advance(7 / speed)
    assert payloads(driver.poll(0)) == [b"5"]
    clock.advance(100)
    assert driver.poll(0) is None


def test_it_goes_on_where_it_was_stopped_and_does_not_make_up_for_the_time_between(tmp_path: Path) -> None:
    clock = FakeClock()
    path = recording(tmp_path, *(reading(n, n) for n in range(10)))
    driver, came = opened(path, clock), []
    state = None
    for _ in range(40):
        delivery = driver.poll(0)
        came += payloads(delivery)
        state = delivery.cursor if delivery is not None else state
        driver.close()
        clock.advance(0.3)
        driver = opened(path, clock, state)
        clock.advance(0.3)
    assert came == [str(n).encode() for n in range(10)]


def test_over_and_over_with_the_time_going_on(tmp_path: Path) -> None:
    clock = FakeClock()
    path = recording(tmp_path, reading(1, 5), reading(2, 6))
    driver = opened(path, clock, loop=True)
    came = [payloads(driver.poll(0))]
    for _ in range(3):
        clock.advance(1)
        delivery = driver.poll(0)
        came.append(payloads(delivery))
    assert came == [[b"1"], [b"2", b"1"], [b"2", b"1"], [b"2", b"1"]]
    assert driver.counters["laps"] == 3
    assert delivery is not None
    assert payloads(opened(path, clock, delivery.cursor, loop=True).poll(0)) == [b"2", b"1"]


@pytest.mark.parametrize("content", ["", "\n", '{"gap":{}}\n', "nonsense\n"])
def test_a_recording_without_an_event_ends_even_when_looped(content: str, tmp_path: Path) -> None:
    driver = opened(recording(tmp_path, content), FakeClock(), loop=True, speed=0)
    for _ in range(3):
        assert payloads(driver.poll(0)) == []


def test_lines_that_are_no_events_are_counted(tmp_path: Path) -> None:
    bad = ["nonsense\n", "[]\n", "7\n", '{"payload":"x"}\n', '{"time_ns":1}\n', '{"time_ns":1,"payload_base64":"*"}\n',
           '{"time_ns":1,"payload":"x","headers":[["a",1]]}\n', '{"time_ns":"1","payload":"x"}\n']  # fmt: skip
    path = recording(tmp_path, reading(1, 1), {"gap": {"reason": "DROPPED"}}, *bad, "\n", json.dumps(reading(2, 1)))
    driver = opened(path, FakeClock(), speed=0)
    assert payloads(driver.poll(0)) == [b"1", b"2"]
    assert driver.counters["bad"] == len(bad)


def test_another_recording_under_the_same_name_is_played_from_its_beginning(tmp_path: Path) -> None:
    clock = FakeClock()
    delivery = opened(recording(tmp_path, reading(1, 1), reading(2, 1)), clock, speed=0).poll(0)
    assert delivery is not None
    path = recording(tmp_path, reading(3, 1), reading(4, 1))
    assert payloads(opened(path, clock, delivery.cursor, speed=0).poll(0)) == [b"3", b"4"]


@pytest.mark.long
def test_long_lines_and_long_recordings_come_in_bounded_deliveries(tmp_path: Path) -> None:
    large = "x" * 600_000
    path = recording(
        tmp_path, *(reading(n, 1, payload=large) for n in range(20)), *(reading(n, 1) for n in range(20_000))
    )
    sink = RecordingSink()
    running = Running(
        lambda settings, clock: ReplayDriver(ReplayConfig(path=path, speed=0), settings, clock), SETTINGS, sink
    )
    running.until(lambda: len(sink.events) == 20_020, "all of them")
    assert sink.commits >= 5
    assert running.counter("restarts") == 0


def test_a_recording_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(DeviceLostError, match="put it there"):
        opened(tmp_path / "none", FakeClock())


@pytest.mark.parametrize("speed", [-1.0, float("nan"), float("inf")])
def test_a_speed_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(DriverConfigError, match="speed"):
        ReplayDriver(ReplayConfig(speed=speed), SETTINGS, FakeClock())
