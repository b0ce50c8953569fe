"""The gateway, the lines, the run and its report."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random

from edge.demo.nodes import NodeProcess
from storage import SegmentStore
from tests.drivers.serial_campaign.frames import KINDS
from tests.drivers.serial_campaign.judging import Verdict, judge
from tests.drivers.serial_campaign.lines import TalkingLine

TICK_S = 0.016
"""An FTDI adapter hands over what it has so often (its latency timer)."""
LONGEST_END_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`bad_share` of the frames are damaged or have noise before them. Lines are pulled out one after the other."""

    lines: int = 16
    duration_s: float = 600.0
    baud: int = 115_200
    bad_share: float = 0.01
    seed: int = 1
    commit_interval: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """`core_share` is CPU time of the gateway per second while the lines spoke; `generator_share` that of this process."""

    verdicts: tuple[Verdict, ...]
    duration_s: float
    size_bytes: int
    core_share: float
    generator_share: float
    load: float

    @property
    def ok(self) -> bool:
        return all(verdict.ok for verdict in self.verdicts)

    def text(self) -> str:
        good, bad = sum(v.good for v in self.verdicts), sum(v.bad for v in self.verdicts)
        counted = sum(v.counted_bad for v in self.verdicts)
        return "\n".join(
            [
                *(verdict.text() for verdict in self.verdicts),
                f"{len(self.verdicts)} lines for {self.duration_s:.0f} s: {good:,} good frames, {bad:,} bad, {counted:,} counted "
                f"bad, {self.size_bytes / self.duration_s / 1000:.0f} kB/s; {100 * self.core_share:.1f} % of a core for the "
                f"gateway, {100 * self.generator_share:.1f} % for the generator; load before {self.load:.1f}",
            ]
        )


def run_campaign(plan: Plan, folder: Path) -> Report:
    """Everything from the first byte to the verdict. The gateway's data stay in `folder`."""
    load = os.getloadavg()[0]
    random = Random(plan.seed)
    with ExitStack() as stack:
        lines = {}
        for number, name in zip(range(plan.lines), cycle(KINDS), strict=False):
            # In the middle of the run, so that there is enough on both sides.
            replug_at_s = plan.duration_s * (0.2 + 0.5 * number / plan.lines)
            line = TalkingLine(
                folder / f"port-{number}", KINDS[name], plan.baud, plan.bad_share, replug_at_s, Random(random.random())
            )
            stack.callback(line.close)
            lines[f"{name}-{number}"] = line
        node = NodeProcess(folder / "node", _toml(folder / "node", lines, plan))
        stack.callback(node.kill)
        node.start()
        node.ready()
        assert node.pid is not None
        before_s, own_before_s, began_s = _cpu_s(node.pid), time.process_time(), time.monotonic()
        _talk(list(lines.values()), plan.duration_s)
        duration_s = time.monotonic() - began_s
        core_share = (_cpu_s(node.pid) - before_s) / duration_s
        generator_share = (time.process_time() - own_before_s) / duration_s
        counters = _settled(node, lines)
        assert node.stop() == 0, node.log_end()
        with SegmentStore.open(node.store) as store:
            verdicts = tuple(
                judge(
                    name,
                    line.kind,
                    line.said,
                    (event.payload for event in store.read(_stream(name), start="head", follow=False)),
                    counted_bad=counters[name][0],
                    counted_lost=counters[name][1],
                )
                for name, line in lines.items()
            )
    size_bytes = sum(line.said.size_bytes for line in lines.values())
    return Report(verdicts, duration_s, size_bytes, core_share, generator_share, load)


def _talk(lines: list[TalkingLine], duration_s: float) -> None:
    began_s = last_s = time.monotonic()
    while True:
        now_s = time.monotonic()
        over = now_s - began_s >= duration_s and not any(line.wants_replug() for line in lines)
        done = [line.step(now_s - began_s, now_s - last_s, ending=over) for line in lines]
        if over and all(done):
            return
        if now_s - began_s > duration_s + LONGEST_END_S:
            raise TimeoutError(f"{done.count(False)} of {len(done)} lines were not read to their end")
        last_s = now_s
        time.sleep(max(0.0, TICK_S - (time.monotonic() - now_s)))


def _settled(node: NodeProcess, lines: dict[str, TalkingLine]) -> dict[str, tuple[int, int]]:
    """Bad and lost of each source, once they have stood still: what was read last may be on its way."""
    until_s = time.monotonic() + LONGEST_END_S
    before: dict[str, tuple[int, int, int]] = {}
    while True:
        now = {source.name: (source.events, source.bad, source.lost) for source in node.client.status().sources}
        if now == before or time.monotonic() > until_s:
            return {name: now[name][1:] for name in lines}
        before = now
        time.sleep(1.5)


def _toml(folder: Path, lines: dict[str, TalkingLine], plan: Plan) -> str:
    return "\n".join(_tables(folder, lines, plan))


def _tables(folder: Path, lines: dict[str, TalkingLine], plan: Plan) -> Iterator[str]:
    yield f'[node]\nname = "campaign"\ndata_dir = "{folder}"\nsocket = "{folder}/edge.sock"\n'
    for name, line in lines.items():
        settings: dict[str, str | int] = {
            "name": name,
            "driver": "serial",
            "stream": _stream(name),
            "port": line.pattern,
        }
        settings |= {"baud": plan.baud, **line.kind.settings}
        if plan.commit_interval:
            settings["commit_interval"] = plan.commit_interval
        yield "[[source]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


def _stream(name: str) -> str:
    return f"serial/{name}"


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
