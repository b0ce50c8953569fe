"""The campaign against the MQTT listener: a real gateway and devices that publish to it, both killed, at steps and packets.

Each device writes a journal of what it sends, before it does, and of what was answered for. It is the judge: of a device
with a persistent session

    1. what had its PUBACK or PUBREC is stored,
    2. what it sent again, with DUP and the same packet id, is stored once,
    3. in the order in which it was first sent,
    4. and a message that equals another is one of its own,

and its session is there whenever it comes back. When all have been answered, all that was sent is stored. What a device
that forgets everything in a crash had not been answered for may be there or not, once. A device without a persistent session
may be stored twice where it repeated itself.

    habits      the devices: MQTT version, quality of service, how they use packet ids, what they forget
    journal     what one of them has sent, and what was answered for
    device      the process of one, which also kills the gateway, or both, when an answer that was aimed at has come
    cast        gateway and devices, and how each of them dies
    judging     what is stored against the journals
    rounds      the run and its report
    broken      a gateway with one promise broken, which the campaign must notice

`python -m tests.drivers.listener_campaign --kills 200 --seed 1` runs it.
"""
