"""Reader groups: several readers share the segments of one or several streams, each event is read by one of them.

State
    One state synchronizer for each group (`_system/groups/NAME`), JSON. At any time the marks of all readers, of what is
    unassigned and of what is finished are together one cut of each stream: a mark is a position in a segment and the
    newest time of capture read there. At most 1,000 streams and 1,000 readers, three checkpoints under way, the newest ten
    complete ones kept. Streams and `stop` are the group's; leases and intervals are the process's (`GroupConfig`).

Reading (`reader`)
    `Reader.read` is one bounded step and at most one commit. A call says that what the calls before it handed out is
    dealt with; positions, as others see them, move only then. In this order it:

    1. is noted as alive, and takes readers offline that were not heard for `lease_s` (boot clock, in memory: a restart
       leaves readers behind, which are taken over by name, by `reader_offline`, or after the lease);
    2. passes the checkpoint that it handed out last; while another waits to be handed out, does nothing else;
    3. finishes segments that it has read to their end. Successors become readable when all predecessors are finished;
       where a scale turned several segments into several, all that hang together change at once, so it stays a cut;
    4. releases what it has above its share, or takes up to its share of what is unassigned, the oldest first. The share
       is the same for all, what is left over goes to those who own most, so shares differ by one at most once every
       reader has read twice;
    5. records its positions, with any of these or every `record_interval_s`;
    6. hands out a checkpoint, alone, or events and gaps of its segments, each in turn.

    While the store can't commit, 2 to 5 wait and reading goes on. A step that took longer than `timeout_s` may or may not
    be on disk: nothing is handed out until that is known.

Which events come again
    After `close`: none. After a reader died: those behind its last recorded position; none where its `position`, kept in
    one write with what was made of the events before the next `read`, is given to `reader_offline` or `reader`. After
    `reset_to_checkpoint`: those that its readers dealt with after they passed it. A group whose state was hit by damage
    goes on from the state before that, without readers.

Where a group stands
    `cut`, `unread_bytes`, `watermark` (the least of the times that segments with something unread have come to, and the
    newest of all) as of the last `read` of each reader; `retention_cut` and `consumed` as recorded, and in a group that
    makes checkpoints as of the last complete one. `Groups.consumed` is what `SegmentStore.retain` is given: groups count
    whether or not anybody reads in them, until they `retire`.

Names and rules follow Pravega's (reader groups, checkpoints, StreamCuts, TimeWindow).
"""

from storage.readers.group import ReaderGroup
from storage.readers.progress import TimeWindow
from storage.readers.reader import CheckpointEvent, GroupConfig, Reader, ReaderOfflineError, ReaderPosition

__all__ = [
    "CheckpointEvent",
    "GroupConfig",
    "Reader",
    "ReaderGroup",
    "ReaderOfflineError",
    "ReaderPosition",
    "TimeWindow",
]
