"""Transactions: appends to one or more streams that become readable together, or not at all.

Words
    A transaction is OPEN from `begin` on, until it is COMMITTED or ABORTED; both are final. COMMITTING and ABORTING is
    one whose commit or abort waits in the committer's queue: on disk it is still OPEN, and stays so where the machine dies
    then. What is asked twice is done once: a commit of what was committed is acknowledged, and so is an abort of what was
    aborted; a commit of what was aborted is an error, an abort of what was committed as well.

Shadows
    What is appended goes to *shadow segments*, one for each segment of each stream that was open in the epoch in which the
    transaction began. Each stream of a transaction has a number for its shadows, from 2**31 on, which is not used twice, so
    a shadow has a key as every segment has, and blocks, generations, chunks and the commit chain know no difference. Its
    blocks name the stream, the segment and the epoch that they are meant for. No stream's layout has a shadow, so no
    reader and no upstream ever sees one.

Commit
    One commit puts pointers (`storage.pointer`) at the end of the segments that the shadows are for: contiguous, the first
    and last of a segment flagged, under the segment's own ordinals and checksums. Pointers carry blocks of up to
    `INLINE_BYTES` in all along, and then the shadow is dead; larger ones stay where they are, once written (`placed`: until
    the segment begins behind them). What was put into chunks stays there, and the chunk becomes one of the segment's. A
    transaction of which no block is durable yet leaves no shadow at all.
    In the same commit go cursors, changes of tables, and the writers' numbers.

    What the pointers say of time is when the commit was; what the events say of themselves is when they were captured.

Scaling
    A transaction commits into the segments it began with where they are still open. Otherwise the commit seals those of the
    stream's epoch, opens segments as they were when it began, puts the pointers there, seals them, and opens segments as
    they were before: two epochs in one commit, as Pravega's rolling transaction does it. So per key the transaction lies
    behind all that was durable before its commit, and before all that comes after.

Writers' numbers
    Within a transaction they count on from what the stream knew of the writer, or from what the transaction has. They are
    judged once more by the commit: where the stream has all of them by then, the transaction is a repeat; it ends as
    committed and nothing is stored twice. Where it has some of them, or misses some before, the commit is refused.

Leases
    Whoever holds a transaction appends, or pings it, within its lease, counted on the boot clock and afresh from each
    opening of the store. `expire` aborts those that were left: OPEN ones only. One whose commit is queued is not touched.

Limits
    A transaction holds at most `MAX_TRANSACTION_BYTES`, under a disk limit an eighth of it, and `MAX_TRANSACTION_APPENDS`;
    at most `MAX_OPEN` are open at once; of those that ended the newest `MAX_REMEMBERED` can be asked for by id. The streams
    of one have one policy when full and one priority, since the disk limit gives up what they hold together.

Damage
    A shadow counts as alive while its transaction is on record as open, or while what points to it can be read. So
    what a repair of the engine brings back of others is nothing. A transaction with a block that does not check can't be
    committed.
"""
