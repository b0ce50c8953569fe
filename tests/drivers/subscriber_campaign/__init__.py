"""The campaign against the MQTT subscriber: a real gateway and a real broker, both killed, publishers too, and the wire between.

What the broker promised its publishers is its own affair: it answers from memory, and killed it forgets some of that. So
the judge is a proxy between gateway and broker, which writes down each PUBLISH that came to the gateway, each PUBACK that left
it, and each UNSUBACK with which the broker proved that it had taken a PUBACK. From that follows what the store must hold:

    1. A message whose PUBACK left the gateway is stored.
    2. A message that the broker sends again (DUP, the same packet id and bytes, its PUBACK not proved) is stored once.
    3. What comes without DUP, or under another packet id, is a message of its own, however equal it is.
    4. Messages of a topic are stored in the order in which they first came.

A message may be there or not where it came and never got its PUBACK (the broker forgot it), and where the protocol leaves
it open, which is counted: the broker, killed, sends again what it had answered for (`forgotten`), or uses a packet
id again for an equal message that it then has to send twice (`ambiguous`).

    book        the rules above, over packets; `judging` compares with what is stored
    wire        the proxy, which also kills the gateway when a packet that was aimed at passes
    publisher   a process that numbers what it sends, and repeats after its death what had no answer
    cast        gateway, broker, publishers, and how each of them dies
    rounds      the run and its report
    broken      a gateway with one promise broken, which the campaign must notice

The gateway has two sources on the same topics, one for 3.1.1 and one for 5. A kill is aimed at a step of the code, at a
packet, or comes at a random moment. `python -m tests.drivers.subscriber_campaign --kills 200 --seed 1` runs it.
"""
