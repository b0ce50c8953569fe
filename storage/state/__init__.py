"""Small state, shared and durable: revisioned streams, state synchronizers, tables.

Names
    What the store keeps for itself lies in streams below `_system/`, of kind `state`. `SegmentStore.streams()` leaves
    them out unless asked, an uplink mirrors them only for a pattern that begins with `_system/`, and no stream of
    another kind can be made there. The disk limit never takes any of it.

Revisioned stream (`revisioned`)
    A stream of one segment. A *revision* is an offset of it, so revisions are totally ordered and never reused. An
    entry is one event. `write_conditionally(revision, data)` appends only where the segment ends at `revision`: the
    committer judges conditions in the order of submission, so of any number that name the same revision exactly one
    is stored. It answers with the revision behind the entry, or None once that which was stored instead is readable.

State synchronizer (`synchronizer`)
    A pure state, held by everyone who has a synchronizer on the same stream, and changed by updates that all of them
    apply in the stream's order. An entry is one byte and a body:

        I   the whole state, as the codec wrote it
        U   updates, each a length (u32, big endian) and the codec's bytes; together they are one step, all or nothing

    1. `update(decide)` asks `decide` what is to change in the state as it stands, and appends that conditionally at
       the revision of the state. Refused: fetch what others did, ask again (at most 1,000 times).
    2. `fetch` applies the entries behind the revision that is held; an `I` replaces the state.
    3. `compact` appends an `I` and then truncates the stream to the `I` before that one. So one whole state and the
       updates behind it can be lost to damage without the state, and one who is behind the truncation finds an `I`.
       `update` does it by itself once 256 KiB, or four times the size of the last `I` if that is more, lie behind it.
       With a state of S bytes the stream therefore holds at most two states and two such stretches.
    4. Entries lost to damage, with no later `I`, raise StateDamagedError; `restore` writes the state from before them.
    Entries are at most 8 MiB (an event), so a state is, too.

Table (`table`)
    Values of at most 64 KiB under keys of at most 255 bytes, 10,000 keys a table, in memory while the store is open.
    They lie among the cursors (`C`), so that a change moves in one commit with the data that it belongs to
    (`SegmentStore.submit(…, changes=…)`). Under `_table NUL table NUL key`: version (u64), one byte (1: a value,
    0: removed), value. Each change of a key raises its version by one, so a conditional put sees every change in
    between, removal included. Removing writes a tombstone, which stays: nothing rests on a key being absent.
"""

from storage.state.revisioned import Entry, Revision, RevisionedStream
from storage.state.synchronizer import Codec, StateDamagedError, StateSynchronizer
from storage.state.table import Change, Table, Versioned

__all__ = [
    "Change",
    "Codec",
    "Entry",
    "Revision",
    "RevisionedStream",
    "StateDamagedError",
    "StateSynchronizer",
    "Table",
    "Versioned",
]
