"""Drivers: what is read from devices, handed over as batches of frames. This docstring is the contract's specification.

A driver is one file, or a small package, with

`Config`
    A class under `@drivers.contract.config`: a frozen dataclass whose every field has a default and a docstring below
    it. Validation, the sample configuration and its JSON Schema are made from it.
A driver class
    Made from (its Config, `SourceSettings`, a `Clock`), with `open`, `poll`, `ack`, `close`, and one line in
    `drivers.registry`. It declares its `shape` and, in words, what happens when the store pushes back.

Life of a driver object
    1. `open(state)` once. `state` is the cursor last committed for this source, None if there never was one.
    2. `poll(timeout_s)` again and again, from one thread. It waits at most `timeout_s` and gives a `Delivery`, or None.
       A delivery is at most 16 MiB of payload and 100,000 events.
    3. `ack(delivery)` once for each delivery that is on disk, in the order of the deliveries, between polls. A delivery
       never acknowledged is one that the driver must be able to bring again, unless its shape is memoryless.
    4. `close()` once, also after an error. It must not raise, and a closed driver is not used again: after an error the
       source makes a new one.
    Every call is bounded: five seconds for `open` and `close`, `timeout_s` and a little for `poll`.

Shapes
    MEMORYLESS    what is not captured is gone (serial)
    ACKNOWLEDGED  the other side keeps it until `ack` (MQTT)
    CURSORED      it can be read again from the cursor (files, synthetic)

Cursor
    A delivery may carry a cursor: small state (at most 1 MiB), committed in the same write as the delivery's data, and
    given to the next `open`. It is cumulative: committing a later one makes the earlier ones superfluous. A delivery
    with a cursor and no data is allowed. With it a cursored driver is stored exactly once, and an acknowledged one
    recognises what the other side sends again.

    Where it is large and little of it changes at a time, it may have *parts*: `Delivery.parts` holds those that change,
    by name, committed in the same write, each replacing the part of that name; b"" removes it. At most 10,000 parts of
    64 KiB in all, 16 MiB in one delivery, names of 1 to 255 bytes. A driver that keeps parts has a method `take_parts`,
    and gets all of them before `open`. After a repair of the engine a removed part may be there again with the value that
    it had last, so nothing may rest on one being absent.

Interrupting
    A driver that waits in `poll` may have a method `interrupt`. The source calls it, from the thread that commits, when
    the store has answered, so that acknowledgements leave at once; without it they leave at the end of a poll of at most
    20 ms.

Refusals
    What the store refuses for good (a stream that was sealed, or is mirrored from another node, one stream too many, an
    event that is too large) is left out, counted as refused and acknowledged, so that it does not come again for ever; the
    rest of the delivery and its cursor are stored. A driver whose acknowledgement is a promise to somebody has a method
    `ask_with`, and asks for each stream before it hands something over. A stream may be sealed in between: so it has a
    method `refused` too, which is told before `ack` of which streams something was left out.

    One that lets go of what it handed over has a method `limit_with`, and hands over nothing that is larger than its
    stream takes.

Trouble
    A driver that works, but not with everything (a folder that can't be written to, a file that can't be read), goes on and
    says so in an attribute `trouble`: it is logged, and shown as the source's last error for as long as it is there.

Streams
    A stream that is missing is made on first use, as its [[stream]] says. A driver class may have a `stream_config`: how
    its streams are kept that have none.

Steps
    A driver that has steps which a crash test should aim at, or a log should name, has a method `trace_with`.

Errors
    `DeviceLostError`: the device or its link is gone, the source opens again with full-jitter backoff.
    `DriverConfigError`: it can't work as configured; the source stays FAILED until somebody restarts it.
    Anything else: counted, shown, and treated as a lost device. Nothing that a driver raises leaves its source.

At the start
    A device that is lost before it has brought anything, or has been there for ten seconds, was not there at the start.
    `SourceSettings.startup` says what then: `retry` as after every loss; `error`: the source stays FAILED until somebody
    restarts it; `probe`: it is ABSENT, which is no fault, and is looked for once a minute.

Counters (`Driver.counters`, all growing, all numbers of events but `bytes`)
    `good` handed over, `bad` read and not valid, `lost` known to be missing, `duplicates` sent again and recognised,
    `refused` above a stated limit, `bytes` of payload handed over.
    The source adds `durable`, `lost`, `refused` and `restarts` of its own.

When the store pushes back
    The source has at most 16 submissions waiting for the store. Beyond that a driver is not polled, unless it is
    memoryless: then it is polled on, and what does not fit into 16 MiB is counted as lost. Counted, never silent.

    A memoryless driver whose events build on one another (video) may have a method `dropped`. It is told of each delivery
    that found no room, and goes on with an event that stands alone (a key frame).

    A driver that others are connected to may have a method `tend`. It is called in place of `poll` meanwhile, so that
    they are answered and those that leave are noticed. What it takes in then waits in the driver, within its own limits.
"""
