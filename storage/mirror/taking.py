"""Taking a unit into a commit, and what is held of a node."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from storage import block
from storage.catalog import Catalog
from storage.chain import GAP, POINTER
from storage.configuring import put_config
from storage.entry import head
from storage.errors import ConditionFailedError, DamagedBlockError, OriginRefusedError
from storage.fetch import carried
from storage.group import Group
from storage.mirror.boots import take_boots
from storage.mirror.unit import Entry, Held, HeldSegment, Holdings, Part, Unit
from storage.model import BULK, Receipt, StreamConfig, is_internal
from storage.pointer import Pointer
from storage.records import (
    FIRST_SEGMENT,
    MirrorRecord,
    SegmentLayout,
    SegmentRecord,
    StreamRecord,
    decode_layout,
)
from storage.scaling import take_layout
from storage.ticket import Ticket


def holdings(catalog: Catalog, node: str, wanted: Iterable[str] | None = None) -> Holdings:
    """What is held of a node, durable: of the streams `wanted`, by their names there, or of all. No other is looked at."""
    mirror = catalog.mirrors.get(node)
    known = catalog.mirrored.get(node, {})
    chosen = known.copy() if wanted is None else {name: known[name] for name in wanted if name in known}
    streams = {name: _held(catalog, stream) for name, stream in chosen.items()}
    if mirror is None:
        return Holdings(None, 0, streams)
    return Holdings(mirror.store, mirror.opening, streams, mirror.boots)


def _held(catalog: Catalog, stream: StreamRecord) -> Held:
    each = []
    for layout in stream.layout:
        record = catalog.segments.get(stream.key(layout), SegmentRecord())
        each.append(HeldSegment(layout.segment, layout.epoch, record.length, record.events))
    return Held(stream.incarnation, catalog.throughs.get(stream.number, 0), tuple(each))


def _parse_layout(part: Part) -> tuple[SegmentLayout, ...]:
    """Raises ConditionFailedError."""
    try:
        return decode_layout(json.loads(part.layout)) if part.layout else (FIRST_SEGMENT,)
    except (ValueError, TypeError) as error:
        raise ConditionFailedError(f"the segments sent of {part.stream!r} do not parse: {error}") from error


def check_origin(known: MirrorRecord | None, node: str, store: UUID, opening: int, streams: int) -> None:
    """Raises OriginRefusedError unless this opening of this store may speak for the node."""
    if is_internal(f"{node}/"):
        raise OriginRefusedError(f"node {node!r}: its streams would be the store's own; give it another [node] name")
    if known is None:
        return
    if known.store != store:
        raise OriginRefusedError(
            f"node {node!r} is known here as store {known.store} ({streams} streams); this is store {store}. "
            "A store that was wiped or replaced is a new node: give this gateway another [node] name, "
            f"for example {node + '-2'!r}. What was mirrored from the old one stays"
        )
    if opening < known.opening:
        raise OriginRefusedError(
            f"node {node!r} was last heard as opening {known.opening} of store {store}; this is opening {opening}: an "
            "older copy of the store. Bring the newer one back, or give this gateway another [node] name"
        )


def take_unit(group: Group, ticket: Ticket, unit: Unit) -> None:
    """Put a unit into a commit. Raises OriginRefusedError, ConditionFailedError, DamagedBlockError with nothing taken."""
    catalog = group.catalog
    known = group.changes.mirrors.get(unit.node) or catalog.mirrors.get(unit.node)
    check_origin(known, unit.node, unit.store, unit.opening, len(unit.parts))
    taken = [part for part in unit.parts if _continues(group, unit, part)]
    duplicates = sum(entry.events for part in unit.parts if part not in taken for entry in part.entries)
    told = MirrorRecord(unit.store, unit.opening, take_boots(group, unit, 0 if known is None else known.boots))
    if told != known:
        group.changes.mirrors[unit.node] = told
    for part in taken:
        _take_part(group, unit, part)
    stored = sum(entry.events for part in taken for entry in part.entries)
    group.outcomes.append((ticket, Receipt(group.number, (), stored, duplicates)))


def _continues(group: Group, unit: Unit, part: Part) -> bool:
    """Whether a part is to be taken: False where it is held already. Raises where it does not continue what is held."""
    name = f"{unit.node}/{part.stream}"
    stream = group.stream(name)
    if stream is not None and (stream.origin != (unit.node, part.stream) or stream.incarnation != part.incarnation):
        raise OriginRefusedError(
            f"{name!r} here is another stream than the one sent: it was made anew at the gateway, or is written locally. "
            "Give the stream another name at the gateway"
        )
    through = 0
    if stream is not None:
        through = group.changes.throughs.get(stream.number, group.catalog.throughs.get(stream.number, 0))
    if part.through <= through:
        return False
    if part.after != through:
        raise ConditionFailedError(f"{name!r} is held up to commit {through}; what was sent continues {part.after}")
    lengths: dict[tuple[int, int], int] = {}
    checksums: dict[tuple[int, int], int] = {}
    known = {(layout.segment, layout.epoch): layout for layout in _parse_layout(part)}
    gone = [] if stream is None else [s for s in stream.layout if (s.segment, s.epoch) not in known]
    if gone:
        raise ConditionFailedError(f"{name!r} has segments here that it does not have where it comes from: {gone}")
    for entry in part.entries:
        at = (entry.segment, entry.epoch)
        if at not in known:
            raise ConditionFailedError(f"{name!r} has no segment {entry.segment}.{entry.epoch}")
        if at not in lengths and stream is not None:
            builder = group.builder(stream, known[at])
            lengths[at], checksums[at] = builder.length, builder.record.checksum
        if at in lengths and entry.start != lengths[at]:
            raise ConditionFailedError(
                f"{name!r} is {lengths[at]} bytes long here; what was sent begins at {entry.start}"
            )
        length, previous, checksum = _measure(entry)
        if length != entry.length:
            raise DamagedBlockError(f"an entry of {name!r} at {entry.start} is {length} bytes, not {entry.length}")
        if at in checksums and previous is not None and checksums[at] not in (0, previous):
            raise ConditionFailedError(f"{name!r} at {entry.start} does not follow the block that is held before it")
        lengths[at], checksums[at] = entry.start + entry.length, checksum
    return True


def _layout(stream: StreamRecord, segment: int, epoch: int) -> SegmentLayout:
    layout = stream.segment(segment, epoch)
    if layout is None:
        raise ConditionFailedError(f"{stream.name!r} has no segment {segment}.{epoch} here")
    return layout


def _measure(entry: Entry) -> tuple[int, int | None, int]:
    """`(length, checksum of the block before or None, checksum)` of an entry. Raises DamagedBlockError."""
    at = head(entry.raw)
    if at.kind != GAP:
        carried(entry.raw)
    return at.length, at.previous, at.checksum


def _take_part(group: Group, unit: Unit, part: Part) -> None:
    stream = group.stream(f"{unit.node}/{part.stream}")
    layout = _parse_layout(part)
    if stream is None:
        stream = group.create_stream(
            f"{unit.node}/{part.stream}",
            StreamConfig.from_json(part.config),
            incarnation=part.incarnation,
            origin=(unit.node, part.stream),
            layout=layout,
        )
        firsts = {(entry.segment, entry.epoch): entry.start for entry in reversed(part.entries)}
        for (segment, epoch), start in firsts.items():
            group.builder(stream, _layout(stream, segment, epoch)).begin_at(start)
    else:
        if layout != stream.layout:
            stream = take_layout(group, stream, layout)
        stream = put_config(group, stream, StreamConfig.from_json(part.config))
    for entry in part.entries:
        builder = group.builder(stream, _layout(stream, entry.segment, entry.epoch))
        _, _, checksum = _measure(entry)
        at = head(entry.raw)
        if at.kind == POINTER and stream.config.kind == BULK:
            builder.add_bulk(Pointer.decode(entry.raw), carried(entry.raw))
        else:
            builder.add_raw(at.kind, entry.raw, entry.length, entry.events, checksum)
        if at.kind != GAP:
            # What was given up before it was sent may be a gap of an unknown count, or not be there at all.
            builder.record = replace(builder.record, events=(at.first_event or 0) + (at.events or 0))
            for span in block.parse_header(carried(entry.raw)).writers:
                key = (stream.number, span.writer)
                known = group.changes.writers.get(
                    key, group.catalog.writers.get(stream.number, {}).get(span.writer, -1)
                )
                group.changes.writers[key] = max(known, span.last)
    group.changes.throughs[stream.number] = part.through
