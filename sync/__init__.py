"""Replication: what the local store holds is brought upstream, each event exactly once, in order, commits whole.

This docstring is the specification of replication; `storage.mirror.unit` has its data, `sync.hub` the protocol to a hub.

Constraints
    One uplink per upstream, one request at a time per uplink. A unit aims at no more than 4 MiB and starts at 1 MiB; it
    halves with every request that fails on the way, down to 16 KiB, and doubles with every one that is confirmed. It
    is at least one commit. The pause after a failure is drawn from zero to 0.5 s, doubled with each failure in a row up
    to 30 s. An idle link is probed every 15 s.

Unit
    A run of whole local commits, cut down to the streams that the uplink brings upstream, as the bytes that lie on
    disk, with the offsets they have there. Upstream applies it in one atomic write, and only where it continues what is
    held: the same store, the same incarnation of each stream, the same last commit and length.

    It carries the boots whose records changed as well: a clock that is corrected, or a boot that ends, changes the times of
    what upstream holds already. Upstream says up to which commit it knows them; a unit may carry nothing else.

Guarantee
    At every moment upstream holds of each stream a prefix of its local history: the same bytes at the same offsets,
    commits whole. What is confirmed is durable upstream. Nothing here ever deletes anything.

    It rests on one rule: the answer to "what do you hold of me?" is the whole state of the protocol. Nothing that a
    gateway remembers decides what is sent. So any request may be lost, repeated or late, any answer may be lost, either
    side may lose power at any step, and the next handshake goes on from what is durable.

States (`sync.replicator`)
    OFFLINE     not started, or paused by a person
    CONNECTING  asking what upstream holds
    DRAINING    sending what it lacks, unit by unit
    LIVE        upstream holds everything; a new commit is sent within 20 ms; probed while there is none
    BACKOFF     waiting after a failure; then CONNECTING
    The pause grows with every failure in a row and starts over only when data moved: a unit was confirmed, or a
    handshake showed that there is nothing to send. A hub that answers handshakes and fails units is not hammered.

What happens when
    the request is lost             after the deadline: BACKOFF, handshake, the same commits again
    the answer is lost              the same; the handshake shows that they arrived
    a request arrives twice, late   it continues nothing: no-op where all of it is held, refused where it is not
    a peer is silent, half open     every call has a deadline; an idle link is found by its probe
    a captive portal answers        it is recognised as no hub; BACKOFF, and the screens say what answered
    upstream is busy                BACKOFF for as long as it asks, and some
    upstream loses power            it holds a prefix; what it had confirmed was durable
    the gateway loses power         what it had not made durable was never sent: units are read from durable commits
    upstream is set back            the handshake shows less; it is sent again from the local store
    a unit does not continue        one more handshake at once; if the next unit fails so too, it counts as refused
    the store was wiped, is older,  refused with what to do about it, tried again every minute: a person must choose
    or another under the same name
    a stream is selected later      it is held up to nothing, and is brought upstream from its beginning

Modules
    `contract`      what an upstream is, and how it can fail
    `replicator`    the state machine, pure
    `uplink`        carries it out against a store and an upstream, in bounded steps
    `hub`           the hub as an upstream (`client`), and the hub's side (`receiver`)
    `fake`          an upstream within the process, and one that fails by a schedule
"""

from sync.contract import BusyError, DivergedError, Hello, RefusedError, SyncError, UnreachableError, Upstream
from sync.replicator import LinkState, Pace
from sync.uplink import Uplink, UplinkStatus

__all__ = [
    "BusyError",
    "DivergedError",
    "Hello",
    "LinkState",
    "Pace",
    "RefusedError",
    "SyncError",
    "UnreachableError",
    "Uplink",
    "UplinkStatus",
    "Upstream",
]
