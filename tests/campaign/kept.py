"""Judges what was in a store before: it is there still, or it was given up and that was allowed."""

from __future__ import annotations

from bisect import bisect_right

from storage import Position
from storage.retention import drops
from tests.campaign.model import EntryAt, Found, Model, Segment
from tests.campaign.reading import Reading


class Kept:
    """Compares what `now` was read with what the last verification read. `problems` is empty where all is well."""

    def __init__(self, model: Model, now: Reading) -> None:
        self._model = model
        self._now = now
        self.problems: list[str] = []
        for segment, before in model.known.items():
            self._compare(segment, before)
        for name, lengths in model.sealed.items():
            self._judge_sealed(name, lengths)
        for name in now.streams:
            self._judge_drops(name)

    def _wrong(self, segment: Segment, position: object, what: str) -> None:
        self.problems.append(f"{segment[0]}/{segment[1]}.{segment[2]} at {position}: {what}")

    def _compare(self, segment: Segment, before: Found) -> None:
        now = self._now.found.get(segment)
        if now is None:
            self._wrong(segment, 0, "the segment is gone")
            return
        if now.start < before.start or now.length < before.length:
            self._wrong(segment, 0, f"was [{before.start}, {before.length}), is [{now.start}, {now.length})")
        if before.sealed and (not now.sealed or now.length != before.length):
            self._wrong(segment, now.length, f"was sealed at {before.length}, and grew or was opened")
        for position, identity in before.live.items():
            held = now.live.get(position)
            if held == identity:
                continue
            if held is not None:
                self._wrong(segment, position, f"was {identity}, is {held}")
            elif position.offset < now.start:
                why_not = self._why_not(segment, before, position)
                if why_not is not None:
                    self._wrong(segment, position, f"{identity} was given up: {why_not}")
            elif not any(first <= position.offset < end for first, end in now.thinned):
                self._wrong(segment, position, f"{identity} is gone; the segment begins at {now.start}")
        for position, identity in now.live.items():
            if position.offset < before.length and position not in before.live:
                self._wrong(segment, position, f"{identity} is there again")

    def _why_not(self, segment: Segment, before: Found, position: Position) -> str | None:
        """Why an event may not have been given up, None where it may: by request, or by its stream's policy.

        What is given up by request ends where a commit ends, before what was asked for.
        """
        written = _entry_at(before, position)
        asked = self._model.asked.get(segment, 0)
        behind = (entry.start for entry in before.entries if entry.commit > written.commit)
        if position.offset < asked and next(behind, before.length) <= asked:
            return None
        return why_kept(self._model, self._now, segment, position, written)

    def _judge_sealed(self, name: str, lengths: tuple[Position, ...]) -> None:
        for at in lengths:
            segment = (name, at.number, at.epoch)
            if self._now.found[segment].length != at.offset:
                self._wrong(segment, at, f"the stream was sealed, and is {self._now.found[segment].length} bytes long")

    def _judge_drops(self, name: str) -> None:
        """Every event that was ever appended is there, or counted as given up."""
        of_stream = [found for segment, found in self._now.found.items() if segment[0] == name]
        appended, live = sum(found.events for found in of_stream), sum(len(found.live) for found in of_stream)
        dropped = self._now.streams[name].dropped
        counted = sum(reason.events for reason in dropped.values())
        if appended - live != counted:
            self.problems.append(f"{name}: {appended} events appended, {live} there, {counted} counted as given up")


def why_kept(model: Model, now: Reading, segment: Segment, position: Position, written: EntryAt) -> str | None:
    """Why the policy of its stream does not allow to give up an event, None where it does."""
    stream = now.streams[segment[0]]
    policy, reasons = stream.config.retention, stream.dropped.keys()
    room = reasons & {drops.BYTES, drops.DISK_LIMIT, drops.THINNED}
    if stream.config.when_full != "block":
        return None if room else f"nobody asked for it, and only {set(reasons)} is counted"
    confirmed, read_to = model.confirmed.get(segment[0]), model.consumed.get(segment)
    if confirmed is not None and written.commit > confirmed:
        return f"commit {written.commit} wrote it, {confirmed} is confirmed"
    if read_to is not None and position.offset >= read_to:
        return f"its readers have come to {read_to}"
    aged = policy.max_age_s is not None and model.uptime_ns - written.uptime_ns >= policy.max_age_s * 1e9
    eaten = policy.consumed and read_to is not None
    if aged or eaten or (confirmed is not None and room):
        return None
    return f"nobody asked for it, its stream blocks, and only {set(reasons)} is counted"


def _entry_at(found: Found, position: Position) -> EntryAt:
    return found.entries[bisect_right(found.entries, position.offset, key=lambda entry: entry.start) - 1]
