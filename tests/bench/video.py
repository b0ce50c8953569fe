"""Video: what a gate costs for each second of 1080p30, and how fast a range becomes an MP4."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from drivers.camera.gate import GateSettings, make_gate
from drivers.camera.packet import Packet, to_frame
from storage import Append, SegmentStore, StreamConfig
from tests.bench.figures import Figure
from tests.drivers.camera.footage import NS, film, moving
from tests.edge.running import running, write_config

SIZE = (1920, 1080)
FPS = 30
GOP = 60
SECONDS = 8
STORED_MINUTES = 3
GATES = (
    GateSettings("none"),
    GateSettings("interval", every=10.0),
    GateSettings("time-lapse", every=4.0),
    GateSettings("time-lapse", every=60.0),
    GateSettings("motion"),
)


def figures(folder: Path) -> Iterator[Figure]:
    for codec in ("libx264", "mjpeg"):
        packets = film(moving(SECONDS * FPS, SIZE), codec, gop=GOP, fps=FPS)
        for settings in GATES:
            yield _gate(settings, packets)
        if codec == "libx264":
            yield from _export(folder, packets)


def _gate(settings: GateSettings, packets: list[Packet]) -> Figure:
    gate = make_gate(settings)
    kept = 0
    began_s = time.process_time()
    for packet in _endless(packets, 4 * SECONDS * FPS):
        kept += len(gate.feed(packet))
    spent_ms = (time.process_time() - began_s) * 1000 / (4 * SECONDS)
    every = f", every {settings.every:g} s" if settings.gate in ("interval", "time-lapse") else ""
    what = f"gate {settings.gate}{every}, 1080p30 {packets[0].codec}"
    return Figure(what, spent_ms * 1000, "µs CPU/s", note=f"{spent_ms / 10:.2f} % of a core, {kept} frames kept")


def _export(folder: Path, packets: list[Packet]) -> Iterator[Figure]:
    config = write_config(folder)
    frames = STORED_MINUTES * 60 * FPS
    with SegmentStore.open(folder / "data" / "store") as store:
        store.create_stream("video/gate", StreamConfig(kind="bulk"))
        late_ns = store.clock.boot_ns() - packets[0].captured_ns - frames * NS // FPS
        waiting = [
            to_frame(replace(each, captured_ns=each.captured_ns + late_ns), "gate")
            for each in _endless(packets, frames)
        ]
        for start in range(0, frames, FPS):
            store.submit([Append("video/gate", waiting[start : start + FPS])]).result()
    with running(config) as node:
        for name, what in (("cut.raw", "the same as .raw"), ("cut.mp4", "edge export to .mp4")):
            began_s = time.perf_counter()
            done = node.edge("export", "video/gate", "--out", str(folder / name))
            took_s = time.perf_counter() - began_s
            assert done.code == 0, done.err
            size = (folder / name).stat().st_size
            yield Figure(
                f"{what}, MB/s",
                size / took_s / 1e6,
                "MB/s",
                note=f"{frames / took_s:,.0f} frames/s, {size / 1e6:.0f} MB",
            )


def _endless(packets: list[Packet], count: int) -> Iterator[Packet]:
    """The same film again and again, its times going on."""
    step_ns, step = NS // FPS, int(1 / (FPS * packets[0].base))
    first = packets[0]
    for number in range(count):
        packet = packets[number % len(packets)]
        ticks = (first.pts or 0) + number * step
        yield replace(packet, captured_ns=first.captured_ns + number * step_ns, pts=ticks, dts=ticks)
