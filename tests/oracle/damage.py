"""Stores that were killed under load, bits flipped in their logs, and what of their history must still be there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage import Event, Gap, SegmentStore
from tests.oracle.aim import ROOT
from tests.oracle.load import STREAMS

NODE = "pump-7"


@dataclass(frozen=True, slots=True)
class History:
    """All that a store holds: events and gaps by stream, and each block as (start, end, events)."""

    events: Mapping[str, Sequence[Event]]
    gaps: Mapping[str, Sequence[Gap]]
    blocks: Mapping[str, Sequence[tuple[int, int, int]]]


def killed_store(directory: Path, commits: int, generation_bytes: int) -> None:
    """Go on with the store at `directory`: SIGKILL to its writer after so many commits, in the middle of the next."""
    command = [sys.executable, "-m", "tests.oracle.load", str(directory), str(generation_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) >= commits:
                break
        writer.kill()
    assert int(line) >= commits, "the writer ended before its time"


def newest_log(store: Path) -> Path:
    """The newest log with anything in it."""
    return max((log for log in (store / "db").glob("*.log") if log.stat().st_size), key=lambda log: int(log.stem))


def flip(file: Path, bit: int) -> None:
    """Flip one bit of a file."""
    with file.open("r+b") as opened:
        opened.seek(bit // 8)
        byte = opened.read(1)[0]
        opened.seek(bit // 8)
        opened.write(bytes([byte ^ 1 << bit % 8]))


def history(store: SegmentStore) -> History:
    """What an open store holds."""
    unit = store.next_unit(NODE, {}, lambda name: True, 1 << 40)
    assert unit is not None
    return History(
        {stream: list(store.read(stream)) for stream in STREAMS},
        {stream: store.gaps(stream) for stream in STREAMS},
        {
            part.stream: [(entry.start, entry.start + entry.length, entry.events) for entry in part.entries]
            for part in unit.parts
        },
    )


def check_against(before: History, after: History) -> int:
    """Fails unless all that `before` held is in `after`, byte for byte, outside one gap at most: the block that was hit.

    Returns how many gaps there are.
    """
    gaps = [gap for of_stream in after.gaps.values() for gap in of_stream]
    assert len(gaps) <= 1, f"one bit, {len(gaps)} gaps: {gaps}"
    for gap in gaps:
        hit = [block for block in before.blocks[gap.stream] if block[0] <= gap.position.offset < block[1]]
        assert hit, f"a gap where nothing was: {gap}"
        start, end, events = hit[0]
        assert start <= gap.position.offset <= gap.next.offset <= end, f"{gap} is more than the block {start} to {end}"
        assert gap.events in (None, events), f"{gap} says it held {gap.events} events, there were {events}"
    for stream, events_before in before.events.items():
        gone = [(gap.position, gap.next) for gap in after.gaps[stream]]
        kept = [e for e in events_before if not any(start <= e.position < end for start, end in gone)]
        assert list(after.events[stream]) == kept, f"{stream}: something is missing that no gap tells of"
    return len(gaps)
