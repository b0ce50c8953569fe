"""MQTT listener: publishers connect to the gateway itself, over MQTT 3.1.1 and 5, with and without TLS.

A PUBACK (QoS 1) or PUBREC (QoS 2) leaves only when the message is on disk. There is nobody to subscribe to: every
SUBSCRIBE is refused, topic filter by topic filter, and the connection stays.

Rooms
    `reading`, `properties`, `packets`   bytes to packets and back; what is malformed raises with MQTT 5's reason code
    `publishing`, `labels`, `run`        PUBLISHes, many at a time: those alike that follow each other are one `Run`
    `protocol`                           one connection: bytes in; what to write, what to store, and its end come out
    `peer`, `sockets`                    the sockets of all, in passes; who is late is found here
    `passwords`, `permissions`           users, and the topics that each may publish on
    `admission`, `client`                who is let in, and as whom
    `session`, `sessions`                what was seen of a client, so that what it sends again is recognised
    `intake`                             from what clients sent to deliveries, and from durable deliveries to answers
    `driver`                             the contract's side: passes, clients that come and go, wills, counters

A pass
    1. What was answered since the last one is written: one write for each client.
    2. Every socket that has something is read once, at most 64 KiB, and what came is parsed at once.
    3. Sockets that have something again by then are read again, three times at most. All that is new becomes one delivery,
       with what its data makes of the sessions. While one is on its way to the disk the next gathers, up to 1 MiB, and
       sockets are looked at after 1, 2, 4 ms …, at most 20: a delivery and a wakeup cost as much as many messages.
    4. What needs no store (a duplicate, a refused message) is answered behind what is under way, so that each client's
       answers leave in the order of its messages (4.6).

    A PUBREL is part of a delivery too: its PUBCOMP leaves when it is on disk that the packet id is free again. So is a
    CONNECT: a session that begins is on disk before its CONNACK leaves.

When the store pushes back
    The driver goes on with passes and answers PINGREQs (`tend`); what it has for the store waits in it, within limits:

    - Of one client `max_inflight` messages above QoS 0, and 4 MiB. Under MQTT 5 it is told so (Receive Maximum). The socket
      of one that sends more is left alone until it was answered.
    - Of all clients 32 MiB. Above that no socket is read until half of it is on disk; then each in its turn again.

    A client whose socket is left alone can't show that it is alive: its keep-alive begins anew when it is read again.
    That its connection broke is seen all the same. Who connects meanwhile is let in when the store goes on.

Limits
    `max_connections`; those that come above it are closed at once. 10 s from the connection to the CONNECT, TLS included,
    and 320 KiB for it. A packet of at most `max_packet_bytes`, complete within 120 s; packets that are begun and not ended
    take 64 MiB of all clients together. A client that does not read what we wrote is not read any more at 64 KiB, and
    disconnected when it has read nothing for 30 s. 32 topic aliases for each connection. 1,000 streams. 10,000 wills that
    wait. A connection is over when its client was silent for one and a half times its keep-alive; MQTT 5 clients are told
    one of at most `max_keepalive`, and a 3.1.1 client that asks for none is found gone by TCP.

Counters, beside those that every driver has
    `connects`. Connections that ended by `malformed` packets, packets `too_large`, a topic `not_allowed`, a `silent` or
    `stuck` client, a client `taken_over` by its next connection, `turned_away` for want of memory or time, `not_let_in` for
    a wrong password. `no_room`: above `max_connections`. `repeats`: sent again with DUP, and stored, by a client that has no
    session. `forgotten_sessions`: above `max_sessions`.

Messages
    Each is one event, as the MQTT subscriber makes it: stream and key from templates, the headers `mqtt.topic`,
    `mqtt.retain` (a retained message is an event like any other, and nobody gets it again), under MQTT 5
    `mqtt.response_topic`, `mqtt.correlation_data`, `mqtt.user.NAME`. A will is an event with the header `mqtt.will`, made
    when its connection ends without a DISCONNECT, after its delay if MQTT 5 gave it one. It is not made when the gateway
    itself ends, and one that waits then is forgotten.

    What can't be stored (no stream name can be made of its topic, a key above 1,024 bytes, one stream too many, a stream that
    is sealed or mirrored from another node, a topic that its client may not publish on) is never acknowledged as if it were:
    MQTT 5 is told so in the PUBACK or PUBREC, a 3.1.1 client is disconnected, since that is all the protocol has (3.3.5).
    So it is where the stream was sealed while the message was on its way to the disk: what else was on its way with it is
    stored, and of the message nothing is remembered that would make a duplicate of it when it is sent again.
"""

from drivers.listener.config import ListenerConfig
from drivers.listener.driver import ListenerDriver

__all__ = ["ListenerConfig", "ListenerDriver"]
