"""MQTT subscriber, over paho-mqtt: 3.1.1 and 5, acknowledged to the broker only after our commit.

Acknowledged: with a persistent session and QoS 1 the broker keeps a message until our PUBACK, which leaves only when the
message is on disk. QoS 2 is refused: paho sends PUBREC before it hands the message over, and a broker may forget the
message at PUBREC, so QoS 2 would lose what QoS 1 keeps. Its promise, exactly once, is kept in another way:

Redeliveries
    After a lost connection the broker sends again, with DUP set and the same packet id, what it holds no PUBACK for.
    Some of that we have on disk. So each commit also holds the *candidates*: packet id -> digest of topic, payload and
    properties, for every message on disk whose PUBACK is not proved to have reached the broker.

    - A PUBLISH with DUP set, the packet id and the digest of a candidate is a duplicate: counted, acknowledged, not
      stored. Without DUP, or with another digest, it is a new message: the broker must have got the PUBACK before it
      could use the packet id again (MQTT 3.1.1, 2.3.1; MQTT 5, 2.2.1), and the candidate is none any more.
    - Proof is the answer to a request that was sent behind the PUBACKs on the same connection: an UNSUBSCRIBE of a topic
      filter that was never subscribed, which a broker must answer (MQTT 3.1.1, 3.10.4). At most one is under way.
    - Candidates of an earlier connection that the broker did not send again within 30 s of this one are proved in the
      same way.
    - What has been proved is committed too: with the next data, or 2 s after the last message.
    - A new session (`session present` = 0) has no redeliveries: there are no candidates.

    Retained messages come with every SUBSCRIBE, so there is none where the session is still there and the topics are the
    same; the topics are in the cursor too. Under MQTT 5 all is subscribed with every connection, since a broker that was
    killed may have saved the session and not its subscriptions, and the broker is asked to send retained messages to new
    subscriptions only.

How far exactly once goes
    It holds across any kill of ours and any loss of the connection, for what the broker had taken at QoS 1, with the
    exceptions that the protocol leaves:
    1. Publisher to broker is another hop: a QoS 1 publisher that repeats itself makes two messages of one.
    2. A broker that lost its session state, all of it (restart without persistence) or the newest (killed between two
       savings), has lost what it had queued since. A message whose PUBACK it forgot comes again: recognised until its
       proof is on disk, as new from then on.
    3. The PUBACK of a message on disk has arrived, and its proof is not on disk yet (it follows within seconds). The
       broker uses the packet id at once for a message that is equal byte for byte, and before that one is on disk the
       connection is lost. Sent again with DUP set, it can't be told from a redelivery of the first, and is taken for
       one. Brokers that count packet ids up (mosquitto) come back to an id after 65,535 messages, long after the proof,
       unless they were killed and forgot how far they had counted.
    4. A broker that sends a redelivery without DUP set breaks the protocol, and it is stored twice.
    5. The first 3.1.1 subscription: killed between the broker's SUBACK and our next commit, we subscribe again, and
       retained messages come twice (with the header `mqtt.retain`).
    6. Messages published at QoS 0 are delivered at QoS 0: at most once.
    7. Shared subscriptions: a broker may give what one member had not acknowledged to another (MQTT 5, 4.8.2), which
       does not know that the first has it on disk. mosquitto keeps it for the first.
    8. A source with another name, broker address or client id is another session to us: what was under way at the old one
       comes again as new, or stays with the broker.

Backpressure
    At most `max_unacked` messages are unacknowledged: under MQTT 5 the broker keeps to it (Receive Maximum), under 3.1.1
    we stop reading. Most brokers have a limit of their own (mosquitto: `max_inflight_messages`, 20 unless set), and it
    bounds the throughput: that many messages for each of our commits. A broker that has a backlog and no such limit
    (mosquitto 2.0.11 exceeds its own then) sends up to 65,535 messages ahead of a proof, and as many candidates, of 6
    bytes each, are in each commit until the backlog is gone.

Messages
    Each is one event. `stream` and `key` of the source are templates: `{1}` is a word of the topic, counted from 0,
    `{topic}` all of it; in a stream name, what may not be there becomes `_`. Headers: `mqtt.topic`, `mqtt.retain`, and
    under MQTT 5 `mqtt.response_topic`, `mqtt.correlation_data`, `mqtt.user.NAME`. A message of 0 bytes is an event of 0
    bytes. What can't be stored (a message above `max_message_bytes`, a stream that is sealed or mirrored from another
    node, one stream too many) is acknowledged all the same, since a broker would send it again for ever; it is counted as
    refused and named in the log.
"""

from drivers.mqtt.config import MqttConfig
from drivers.mqtt.driver import MqttDriver

__all__ = ["MqttConfig", "MqttDriver"]
