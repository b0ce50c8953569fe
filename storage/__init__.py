"""The segment store: streams built of append-only segments, durable before it says so.

This docstring is the specification of what is on disk and how it is written, read and recovered.

Constraints
    An event is at most 8 MiB (in a bulk stream 64 MiB), one submission 64 MiB, a routing key 1,024 bytes, a name 255
    bytes. A store has one process that writes (lock file); reads never block the writer and see only what is durable.
    A stream remembers 10,000 writers by number; above that the one silent longest is forgotten. It has at most 1,024
    open segments, and 10,000 in all its life. A transaction holds at most 64 MiB; 1,000 may be open, 10,000 that ended can
    be asked for by id. A generation is rolled at 64 MiB, or at a 32nd of all that is stored where that is more, and at
    1 GiB at the latest; the write-ahead log is kept below 32 MiB, so opening reads at most that much log. Under a disk limit
    (at least 16 MiB) both are at most a 32nd of it, and so is a chunk, otherwise of 32 MiB. Of the newest 10,000 boots of
    each store it is known where they stand in time.

Files
    `FORMAT`        format version and store UUID, as JSON with a checksum; written once, read before anything else is
                    touched. `FORMAT.copy` is the same: each is mended from the other
    `REPAIR`        there while what a repair put aside is not yet back in its place: the number of the folder
    `WITNESS`       up to which commit the store was durable, never synced (`storage.witness`)
    `LOCK`          locked while open, holds the process id
    `db/`           RocksDB
    `chunks/N.chunk`    blocks of bulk streams, one behind the other and nothing between them
    `aside/N/`      logs, and engine files, found damaged at opening N, kept for salvage by hand; the newest two are kept

Identity
    The *store* has a UUID, made with it. Each *opening* for writing takes the next number, so an older copy of a store
    is noticed upstream. Each *stream* has an incarnation (UUID), so one deleted and made again is not the old one.

Families (column families of RocksDB, flushed together: atomic flush)
    `tables-N`      what changes: the tables below, kept twice, in two families with the same entries (`storage.kv.pair`).
                    Every value is sealed: format, the number of the commit that wrote it, payload, CRC-32C over key and
                    all of it (`storage.codec.seal`). One that is damaged is followed by a fresh one at opening.
    `default`       empty; in the code, the name of the two together
    `chain-N`       generations of the commit chain: commit number (u64) -> commit record
    `telemetry-N`   generations of the data: stream, segment, epoch (u32 each), offset (u64) -> block, gap record or pointer
    A generation covers a stretch of bytes and is dropped whole. One of the data holds the streams of one retention class
    (policy when full, priority); their numbers are not used twice. All integers in keys are big endian.

Tables, by first byte of the key
    `N`             node: store UUID, opening, first commit whose log has not been verified to be whole, first commit
                    that the chain still holds, highest numbers of a generation and of a chunk that were given up
    `S` + name      stream: number (u32), incarnation, configuration, origin; of its segments key range, epoch, the commits
                    that opened and sealed them
    `G` + segment   segment: start, length, events, checksum of its newest block, last commit, gaps
    `I` + segment + generation    the first offset of the segment in that generation
    `W` + stream + writer id      the writer's last event number
    `C` + name      cursors: small state of drivers and uplinks, written with the data they belong to, removed by an empty
                    one; tables as well
    `B` + store + boot id   a boot in which a store was written, ours or a mirrored one: its place in order, from which to
                    which reading of its clock it is known to have run, its offset to wall time, and whether that is trusted
    `M` + node      mirror: which store, and which opening of it, may speak for a node; up to which commit its boots are held
    `T` + stream    mirrored streams: the origin's commit up to which all is held
    `F` + family    a generation: kind, number, first commit, retention class, how often it was thinned
    `K` + chunk     a chunk: its segment, the offsets that it is for, the bytes of it that pointers name, sealed
    `X` + id        a transaction: open or how it ended, its streams and the numbers of their shadows, its lease
    `P` + segment   a shadow segment whose blocks are led to: by which segment, up to where, since which commit
    `D` + stream    what was given up: events, bytes and unsent events by reason; what is gone below each segment's start

Blocks (`storage.block`)
    One segment's events of one commit. A block stands alone: it names its store, stream, segment and commit, carries
    the checksum of the segment's previous block, the ordinal of its first event and their count, the boot and the time
    range, the writers in it and their numbers, and a CRC-32C over header and body. It does not say at which offset of a
    segment it lies; its key does. Its body is frames, compressed where that pays; offsets count uncompressed bytes.

Frames (`storage.frame`)
    One or more events that share routing key, content type, headers and writer, with the boot-clock time of capture.
    An event's position is its frame's offset and its place in the frame. Appends of one commit that follow each other
    and share these are put into one frame. One may say that its first event is a key frame.

Bulk (`storage.bulk`, `storage.pointer`)
    The blocks of a stream of kind `bulk` lie in chunk files; under the segment's offset lies a pointer, which says all
    that a segment asks of an entry, and where in the block key frames are. A segment has one open chunk, and a chunk is of
    one segment. A commit's blocks are appended and synced, with the names of new files, before its batch is written; a
    write that was refused is repeated at the same place of the file. A truncation that passes a chunk's last offset
    removes its record in the same commit, and the file is unlinked once that is durable. To a hub goes the pointer with
    the block behind it; the hub puts the block into a chunk of its own.

Scaling (`storage.scaling`, `storage.load`, `storage.cuts`, `storage.merging`)
    The open segments of a stream share out its key space. A scale seals some of them and opens others for the same keys in
    a new epoch, in one commit, which the chain notes; sealing the stream opens none. The stream's configuration says by
    which policy; the rates that it goes by are measured in memory, and begin anew with the program. Writers' numbers
    count per stream, so they hold across. What is durable of a stream is in one order, by commit and within a commit by
    segment, which is the order of each key, and in which it is read. So a position says where its reader stands in every
    segment; a StreamCut says it segment by segment, and also where what stood before a position was given up. A mirrored
    stream gets its segments with the commits that changed them.

Transactions (`storage.transactions`)
    What is appended in a transaction goes to shadow segments, durable as everything else and seen by nobody: segments
    under stream numbers from 2**31 on, of which no stream knows. Its commit puts pointers to their blocks at the end of
    the segments that they are for, contiguous, in one commit, with cursors and writers' numbers. Small blocks are carried
    by their pointers, larger ones stay where they are (`P`), chunks become the segment's own. Where the stream was scaled
    meanwhile, the same commit opens segments as they were, and closes them. Nothing rests on the absence of a shadow.

Commits (`storage.chain`)
    Everything that one group of appends changes moves in one write batch, numbered, with no hole in the numbers. The
    commit record lists every block and gap that the commit wrote (segment, offset, length, checksum) and the checksum
    of the record before it. So a missing log file, or records skipped in one, show as a hole in the chain, and what was
    in the hole follows from its neighbours.

Write path
    1. Producers submit; submissions queue up to a bound. Events that one writer appends one by one join while they are
       the newest in the queue.
    2. `commit()` takes what waits, drops what writers' numbers say is stored, refuses gaps in the numbers, packs the
       rest into one block per segment, and builds one batch: commit record, blocks, tables.
    3. The batch is written with `no_slowdown`, then `flush_wal(True)` syncs it (which leaves the interpreter alive).
    4. Only then does the durable state that readers see move, and tickets resolve.
    A write refused by a stall or a full disk is tried again, the same bytes under the same number, at the next
    `commit()`. A failed sync closes the store to writes: nothing after it may be called durable until it is reopened.

State (`storage.state`)
    Streams below `_system/` are the store's own: of kind `state`, of one segment, not shown and not mirrored unless
    asked for. A conditional append (`Append.expected_length`) is judged when its commit is built, in the order of
    submission, so one of any number wins. Tables are cursors with a version. State lies in generations of its own class
    and is never given up. Reader groups (`storage.readers`) are such a state, and bound what retention may take.

Giving up (`storage.retention`)
    Truncation moves a segment's start to the first entry of a commit, so never into an entry or a transaction. Offsets
    never shift. What is given up is counted (`D`); a read below the start is told once, and an upstream that did not hold
    it gets one gap record. A generation below every start is retired: in one commit its `F` and `I` entries go, once that
    is durable the family. The chain's oldest generations go as far as no upstream needs them and no log can hold them; a
    new upstream is then brought what the segments hold, in the order of the commits that their entries name. Thinning
    puts gap records (reason THINNED) in the place of every second block, named in the chain as such. Where a generation
    is mostly dead and can't go, what is dead is deleted and the family compacted. Nothing rests on any of that being
    absent: what a repair brings back lies below a segment's start or before the chain's first commit.

The disk limit (`storage.retention`)
    Before a commit is written, all that can be on disk until the next measurement is bounded: what is there, what the log
    holds once more (a flush), the commit twice, a slack. Where that exceeds the limit, streams give up by policy and
    priority in a commit of its own, which the slack has room for; where none may, commits wait and say why.

Time (`storage.boots`, `storage.seeking`)
    Order is by offset. What is stored are readings of the boot clock; a boot's offset to wall time is written when the
    boot is first seen, when its clock is first trusted and when it steps by more than 0.5 s, and applies to all of the
    boot. A clock that is not trusted never overrides one that was. A boot that was never trusted is placed between its
    neighbours, those of the same store, and its events are uncertain. A read by time begins at the first event, by offset,
    that was captured since. An opening notes of the boot before it the newest reading that the chain holds. Retention counts
    how long the machine is known to have run since: no wall clock makes anything expire. Boots that lie before all that is
    readable are forgotten (`storage.forgetting`).

Opening
    1. FORMAT is checked, the lock taken.
    2. The write-ahead logs are read by our own reader (`storage.kv.logs`) before the engine sees them. A torn tail, a
       record that ends behind the end of the newest file or has pages that were never written, is what a power cut
       leaves, and is cut.
    3. Anything else that does not check is damage: the logs are copied to `aside/`, and the engine skips what it can't
       read. Then the commit chain is walked: commits that the engine skipped but our reader found whole are written
       again, blocks that were hit become gap records (reason DAMAGED), and the chain is closed by commit records marked
       as stand-ins. What can't be accounted for in any other way is bounded by its neighbours in each segment.
    4. CURRENT is pointed at the newest MANIFEST where it names none. Where MANIFEST is torn or damaged, or a table file is
       torn or gone, the originals and the logs go aside, the engine repairs what is left, and everything that checks in
       what was put aside goes back by the commit chain (`storage.kv.repair`); what is nowhere becomes gap records.
    5. Both copies of the tables are read whole and merged; one that does not hold the merge is made again.
    6. Where commit records can't be read otherwise, the chain begins behind them: upstreams are brought what they wrote
       out of the segments, and what the commits behind them do not continue becomes gap records. A bad block in a table
       file of the data is read around: reads, checks and upstreams see a gap, and a scrub (`storage.salvage.scrub`), which
       is part of a repair and always under way in the daemon, writes the gap record. The engine can't show that to a
       scan, so it is asked for by its offset.
    7. Where the witness knows of newer commits, they are lost with the newest log: segments that were longer get a gap
       record up to where they ended, and the next commit a number behind theirs, for an upstream may hold them. After a
       power cut the witness may be older, and 2**20 numbers are passed over. Bulk is not lost with them: blocks in chunks
       that continue their segment are led back by that next commit (`storage.bulk.leading`), but for those of a
       transaction, and for those behind one: which segment its blocks came to was in the log alone.
    8. Chunks: what lies behind the bytes that the records name is looked through for blocks. Where pointers lead to them,
       the record was lost and is made again; anything else is cut off, a file of nothing else unlinked. A chunk that is
       missing or shorter than its record is told with the range lost, and gets nothing more; gap records take the place
       of its pointers.
    9. The next opening number is committed.
"""

from storage.clock import Clock, FakeClock, SystemClock
from storage.event import Event
from storage.model import (
    Append,
    Frame,
    Gap,
    GapReason,
    KeyRange,
    Position,
    Receipt,
    RetentionPolicy,
    ScalingPolicy,
    SegmentId,
    SegmentInfo,
    SegmentState,
    StreamConfig,
    StreamCut,
    StreamInfo,
)
from storage.store import SegmentStore
from storage.ticket import Ticket
from storage.writer import Writer

__all__ = [
    "Append",
    "Clock",
    "Event",
    "FakeClock",
    "Frame",
    "Gap",
    "GapReason",
    "KeyRange",
    "Position",
    "Receipt",
    "RetentionPolicy",
    "ScalingPolicy",
    "SegmentId",
    "SegmentInfo",
    "SegmentState",
    "SegmentStore",
    "StreamConfig",
    "StreamCut",
    "StreamInfo",
    "SystemClock",
    "Ticket",
    "Writer",
]
