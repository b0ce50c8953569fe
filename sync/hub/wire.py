"""The three messages between a gateway and a hub as bytes, and back. What is decoded was checked field by field."""

from __future__ import annotations

from uuid import UUID

from storage.boots import Boot
from storage.mirror.unit import Entry, Held, HeldSegment, Holdings, Part, Unit
from sync.contract import Hello
from sync.hub.envelope import Kind, WireError, seal, unseal

_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
_NAME_BYTES = 255


def encode_hello(hello: Hello) -> bytes:
    return seal(Kind.HELLO, {"node": hello.node, "store": str(hello.store), "opening": hello.opening})


def decode_hello(message: bytes) -> Hello:
    """Raises WireError."""
    head, body = unseal(Kind.HELLO, message)
    _ends("hello", body)
    return Hello(_name(head.get("node")), _uuid(head.get("store")), _count(head.get("opening")))


def encode_holdings(holdings: Holdings) -> bytes:
    streams = {name: [str(held.incarnation), held.through, held_rows(held)] for name, held in holdings.streams.items()}
    store = None if holdings.store is None else str(holdings.store)
    head: dict[str, object] = {"store": store, "opening": holdings.opening, "streams": streams, "boots": holdings.boots}
    return seal(Kind.HOLDINGS, head)


def decode_holdings(message: bytes) -> Holdings:
    """Raises WireError."""
    head, body = unseal(Kind.HOLDINGS, message)
    _ends("holdings", body)
    streams = head.get("streams")
    if not isinstance(streams, dict):
        raise WireError(f"holdings whose streams are {_short(streams)}, not an object")
    store = head.get("store")
    return Holdings(
        None if store is None else _uuid(store),
        _count(head.get("opening")),
        {_name(name): _held(value) for name, value in streams.items()},
        _count(head.get("boots")),
    )


def encode_unit(unit: Unit) -> bytes:
    """Head: everything but bytes. Body: of each part its configuration, its segments, then its entries."""
    body: list[bytes] = []
    parts: list[object] = []
    for part in unit.parts:
        body += (part.config, part.layout)
        body.extend(entry.raw for entry in part.entries)
        rows = [
            [entry.segment, entry.epoch, entry.start, entry.length, entry.events, entry.commit, len(entry.raw)]
            for entry in part.entries
        ]
        sizes = [len(part.config), len(part.layout)]
        parts.append([part.stream, str(part.incarnation), *sizes, part.after, part.through, rows])
    head: dict[str, object] = {
        "node": unit.node,
        "store": str(unit.store),
        "opening": unit.opening,
        "boots": [_boot_row(boot) for boot in unit.boots],
        "boots_after": unit.boots_after,
        "boots_through": unit.boots_through,
        "parts": parts,
    }
    return seal(Kind.UNIT, head, b"".join(body))


def decode_unit(message: bytes) -> Unit:
    """Raises WireError."""
    head, body = unseal(Kind.UNIT, message)
    cut = _Cutter(body)
    unit = Unit(
        _name(head.get("node")),
        _uuid(head.get("store")),
        _count(head.get("opening")),
        tuple(_boot(row) for row in _rows(head.get("boots"))),
        tuple(_part(row, cut) for row in _rows(head.get("parts"))),
        _count(head.get("boots_after")),
        _count(head.get("boots_through")),
    )
    cut.finish()
    return unit


class _Cutter:
    """Hands out the body piece by piece."""

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._body):
            raise WireError(f"a unit whose entries claim more than its body of {len(self._body)} bytes")
        piece = bytes(self._body[self._at : end])
        self._at = end
        return piece

    def finish(self) -> None:
        if self._at != len(self._body):
            raise WireError(f"a unit with {len(self._body) - self._at} bytes behind its last entry")


def _part(row: list[object], cut: _Cutter) -> Part:
    if len(row) != 7:
        raise WireError(f"a part of a unit with {len(row)} fields where 7 should be")
    stream, incarnation, config_bytes, layout_bytes, after, through, entries = row
    config = cut.take(_count(config_bytes, _U32))
    layout = cut.take(_count(layout_bytes, _U32))
    return Part(
        _name(stream),
        _uuid(incarnation),
        config,
        _count(after),
        _count(through),
        tuple(_entry(entry, cut) for entry in _rows(entries)),
        layout,
    )


def _entry(row: list[object], cut: _Cutter) -> Entry:
    if len(row) != 7:
        raise WireError(f"an entry of a unit with {len(row)} fields where 7 should be")
    segment, epoch, start, length, events, commit, raw_bytes = row
    return Entry(
        _count(segment, _U32),
        _count(epoch, _U32),
        _count(start),
        _count(length),
        _count(events),
        _count(commit),
        cut.take(_count(raw_bytes, _U32)),
    )


def _boot_row(boot: Boot) -> list[object]:
    return [
        str(boot.store), str(boot.id), boot.number, boot.first_ns, boot.last_ns, boot.wall_offset_ns, boot.trusted, boot.commit,
    ]  # fmt: skip


def _boot(row: list[object]) -> Boot:
    if len(row) != 8:
        raise WireError(f"a boot of a unit with {len(row)} fields where 8 should be")
    store, boot_id, number, first_ns, last_ns, offset_ns, trusted, commit = row
    if not isinstance(trusted, bool):
        raise WireError(f"{_short(trusted)} does not say whether a boot's clock was trusted")
    return Boot(
        _uuid(store), _uuid(boot_id), _count(number), _time_ns(first_ns), _time_ns(last_ns), _time_ns(offset_ns),
        trusted, _count(commit),
    )  # fmt: skip


def _time_ns(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 63:
        raise WireError(f"{_short(value)} is no time in nanoseconds")
    return value


def _held(value: object) -> Held:
    if not isinstance(value, list) or len(value) != 3:
        raise WireError(f"{_short(value)} does not say what is held of a stream")
    incarnation, through, segments = value
    return Held(_uuid(incarnation), _count(through), tuple(map(_segment, _rows(segments))))


def held_rows(held: Held) -> list[list[int | None]]:
    """What is held of each segment, as JSON."""
    return [[each.segment, each.epoch, each.length, each.events] for each in held.segments]


def _segment(row: list[object]) -> HeldSegment:
    if len(row) != 4:
        raise WireError(f"{_short(row)} does not say what is held of a segment")
    return HeldSegment(_count(row[0], _U32), _count(row[1], _U32), _count(row[2]), _maybe(row[3]))


def _maybe(value: object) -> int | None:
    return None if value is None else _count(value)


def _rows(value: object) -> list[list[object]]:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise WireError(f"{_short(value)} where a list of lists should be")
    return value


def _count(value: object, most: int = _U64) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise WireError(f"{_short(value)} where a number from 0 to {most} should be")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isascii() or len(value) > _NAME_BYTES:
        raise WireError(f"{_short(value)} where a name of at most {_NAME_BYTES} ASCII characters should be")
    return value


def _uuid(value: object) -> UUID:
    if not isinstance(value, str):
        raise WireError(f"{_short(value)} where a UUID should be")
    try:
        return UUID(value)
    except ValueError as error:
        raise WireError(f"{_short(value)} where a UUID should be") from error


def _ends(what: str, body: memoryview) -> None:
    if len(body):
        raise WireError(f"a {what} message with a body of {len(body)} bytes where none should be")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
