"""Tables: small values under keys, durable with the data they belong to, changed on a condition or without one."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from storage.errors import ConditionFailedError, InvalidNameError, TooLargeError
from storage.group import Group
from storage.model import Append
from storage.ticket import Ticket

MAX_KEYS = 10_000
"""Keys of one table, removed ones included."""
MAX_KEY_BYTES = 255
MAX_VALUE_BYTES = 64 << 10

_PREFIX = "_table\0"
_HEAD = struct.Struct(">QB")
_REMOVED, _VALUE = 0, 1


class Versioned(NamedTuple):
    """A value and its version: the how-manieth change of its key it is, from 1."""

    value: bytes
    version: int


class Change(NamedTuple):
    """One change of one key. `value` None removes. `expected`, where given, is the version it must have; 0: no value."""

    table: str
    key: str
    value: bytes | None
    expected: int | None = None


class Store(Protocol):
    """What a table needs of its store."""

    def submit(
        self,
        appends: Sequence[Append],
        cursors: Mapping[str, bytes] | None = None,
        changes: Sequence[Change] = (),
    ) -> Ticket: ...

    def cursor(self, name: str) -> bytes | None: ...

    def cursors(self) -> Mapping[str, bytes]: ...


class Table:
    """One table of a store. Reads see what is durable; any thread may call anything."""

    def __init__(self, store: Store, name: str) -> None:
        _check("table", name)
        self._store = store
        self.name = name

    def get(self, key: str) -> Versioned | None:
        """The value under `key`, None where there is none."""
        return _present(self._store.cursor(_place(self.name, key)))

    def items(self) -> dict[str, Versioned]:
        """Every key that has a value, in the order of keys."""
        prefix = _place(self.name, "")
        found = {}
        for name, raw in sorted(self._store.cursors().items()):
            held = _present(raw) if name.startswith(prefix) else None
            if held is not None:
                found[name[len(prefix) :]] = held
        return found

    def put(self, key: str, value: bytes) -> None:
        """Set a value, durable when it returns. Raises TooLargeError, InvalidNameError, what `submit` raises."""
        self._store.submit((), None, [self.change(key, value)]).result()

    def put_if(self, key: str, value: bytes, version: int) -> int | None:
        """Set a value where its version is still `version` (0: where there is none); durable when it returns.

        The new version, or None where another change came first. Raises TooLargeError, InvalidNameError.
        """
        return self._change_if(self.change(key, value, version), version)

    def remove(self, key: str) -> None:
        """Remove a value, durable when it returns. Nothing where there is none."""
        if self.get(key) is not None:
            self._store.submit((), None, [self.change(key, None)]).result()

    def remove_if(self, key: str, version: int) -> bool:
        """Remove a value where its version is still `version`. False: another change came first."""
        return self._change_if(self.change(key, None, version), version) is not None

    def change(self, key: str, value: bytes | None, expected: int | None = None) -> Change:
        """A change to be given to `SegmentStore.submit` with the data that it belongs to."""
        _check("key", key)
        if value is not None and len(value) > MAX_VALUE_BYTES:
            raise TooLargeError(f"{len(value)} bytes under {key!r} of table {self.name!r}: at most {MAX_VALUE_BYTES}")
        return Change(self.name, key, value, expected)

    def _change_if(self, change: Change, version: int) -> int | None:
        ticket = self._store.submit((), None, [change])
        try:
            ticket.result()
        except ConditionFailedError:
            return None
        return version + 1 if version else self._version_behind(change)

    def _version_behind(self, change: Change) -> int:
        """The version that a key made anew got: it goes on from what the removed one had."""
        raw = self._store.cursor(_place(self.name, change.key))
        return _HEAD.unpack_from(raw)[0] if raw is not None else 1


def plan_changes(group: Group, changes: Sequence[Change]) -> dict[str, bytes]:
    """The cursors that `changes` become in this commit. Raises ConditionFailedError, TooLargeError with nothing taken."""
    planned: dict[str, bytes] = {}
    for change in changes:
        place = _place(change.table, change.key)
        raw = planned.get(place) or group.changes.cursors.get(place) or group.catalog.cursors.get(place)
        if raw is None:
            _check_room(group, planned, change)
        version, kind = _HEAD.unpack_from(raw) if raw is not None else (0, _REMOVED)
        stands = version if kind == _VALUE else 0
        if change.expected is not None and change.expected != stands:
            raise ConditionFailedError(
                f"{change.key!r} of table {change.table!r} is at version {stands}, not {change.expected}"
            )
        head = _HEAD.pack(version + 1, _REMOVED if change.value is None else _VALUE)
        planned[place] = head + (change.value or b"")
    return planned


def _check_room(group: Group, planned: Mapping[str, bytes], change: Change) -> None:
    prefix = _place(change.table, "")
    names = {name for held in (group.catalog.cursors, group.changes.cursors, planned) for name in list(held)}
    if sum(name.startswith(prefix) for name in names) >= MAX_KEYS:
        raise TooLargeError(
            f"table {change.table!r} has {MAX_KEYS} keys, the most there may be: {change.key!r} is one more"
        )


def _place(table: str, key: str) -> str:
    return f"{_PREFIX}{table}\0{key}"


def _present(raw: bytes | None) -> Versioned | None:
    if raw is None:
        return None
    version, kind = _HEAD.unpack_from(raw)
    return Versioned(raw[_HEAD.size :], version) if kind == _VALUE else None


def _check(what: str, name: str) -> None:
    if not name or "\0" in name or len(name.encode()) > MAX_KEY_BYTES:
        raise InvalidNameError(f"{name[:40]!r} is no name of a {what}: 1 to {MAX_KEY_BYTES} bytes of text without NUL")
