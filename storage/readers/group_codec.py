"""A group's state and its updates as JSON. A segment is told by its stream and a position in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from storage.model import Position, SegmentId
from storage.readers.group_state import (
    Acquired,
    Begun,
    Checkpoint,
    Finished,
    GroupState,
    GroupUpdate,
    Joined,
    Left,
    Mark,
    Marks,
    Passed,
    Recorded,
    Released,
    Reset,
)

_Json = Any
_NAMES: dict[str, type[GroupUpdate]] = {
    kind.__name__.lower(): kind for kind in (Reset, Joined, Left, Acquired, Released, Recorded, Finished, Begun, Passed)
}


def _segment_json(segment: SegmentId) -> _Json:
    return [segment.stream, segment.number, segment.epoch]


def _marks_json(marks: Marks) -> _Json:
    return [[segment.stream, str(mark.position), mark.time_ns] for segment, mark in marks.items()]


def _marks(loaded: _Json) -> dict[SegmentId, Mark]:
    marks = {}
    for stream, text, time_ns in loaded:
        position = Position.parse(text)
        marks[SegmentId(stream, position.number, position.epoch)] = Mark(position, time_ns)
    return marks


def _positions_json(positions: Mapping[SegmentId, Position]) -> _Json:
    return _marks_json({segment: Mark(position) for segment, position in positions.items()})


def _positions(loaded: _Json) -> dict[SegmentId, Position]:
    return {segment: mark.position for segment, mark in _marks(loaded).items()}


_FIELDS: dict[str, tuple[Any, Any]] = {
    "marks": (_marks_json, _marks),
    "stop": (_positions_json, _positions),
    "successors": (_positions_json, _positions),
    "streams": (list, tuple),
    "waiting": (sorted, frozenset),
    "segments": (lambda found: [_segment_json(s) for s in found], lambda found: tuple(SegmentId(*s) for s in found)),
    "predecessors": (
        lambda found: [_segment_json(s) for s in sorted(found)],
        lambda found: frozenset(SegmentId(*s) for s in found),
    ),
}


def _dump(value: object, names: Iterable[str]) -> dict[str, _Json]:
    out = {}
    for name in names:
        held = getattr(value, name)
        out[name] = _FIELDS[name][0](held) if name in _FIELDS else held
    return out


def _load(loaded: Mapping[str, _Json]) -> dict[str, _Json]:
    return {name: _FIELDS[name][1](held) if name in _FIELDS else held for name, held in loaded.items()}


def encode_marks(marks: Marks) -> str:
    """As text, to be kept with the data of whoever reads."""
    return json.dumps(_marks_json(marks))


def decode_marks(text: str) -> Marks:
    """What `encode_marks` wrote. Raises ValueError."""
    return _marks(json.loads(text))


class GroupCodec:
    """The state of a group and its updates as JSON."""

    def initial(self) -> GroupState:
        return GroupState()

    def apply(self, state: GroupState, update: GroupUpdate) -> GroupState:
        return update.apply(state)

    def encode_update(self, update: GroupUpdate) -> bytes:
        kind = type(update)
        return json.dumps({"do": kind.__name__.lower()} | _dump(update, kind.__slots__)).encode()

    def decode_update(self, raw: bytes) -> GroupUpdate:
        loaded = json.loads(raw)
        return _NAMES[loaded.pop("do")](**_load(loaded))

    def encode_state(self, state: GroupState) -> bytes:
        checkpoints = ("ongoing", "complete")
        out = _dump(state, ("generation", "streams", "stop"))
        out |= {name: _marks_json(getattr(state, name)) for name in ("unassigned", "finished")}
        out["bound"] = None if state.bound is None else _marks_json(state.bound)
        out["readers"] = {reader: _marks_json(marks) for reader, marks in state.readers.items()}
        for name in checkpoints:
            out[name] = [_dump(checkpoint, Checkpoint.__slots__) for checkpoint in getattr(state, name)]
        return json.dumps(out).encode()

    def decode_state(self, raw: bytes) -> GroupState:
        loaded = _load(json.loads(raw))
        loaded |= {name: _marks(loaded[name]) for name in ("unassigned", "finished")}
        loaded["bound"] = None if loaded["bound"] is None else _marks(loaded["bound"])
        loaded["readers"] = {reader: _marks(marks) for reader, marks in loaded["readers"].items()}
        for name in ("ongoing", "complete"):
            loaded[name] = tuple(Checkpoint(**_load(checkpoint)) for checkpoint in loaded[name])
        return GroupState(**loaded)
