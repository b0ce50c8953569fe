"""`edge demo`: the whole story on this machine, with no configuration and nothing left behind.

Cast
    A gateway and a hub, each a process of its own (`python -m edge run`) in a temporary folder, and between them a link
    that is a forwarder in this process. The gateway is fed by a serial instrument on a pseudo-terminal (NMEA 0183), by a
    camera (JPEG over HTTP, five small pictures a second, each with its number), by
    three MQTT devices that connect to it, QoS 1, and send again what had no answer when the connection broke, and by a
    program that writes over the local socket and, whenever an answer was lost, sends its last answered batch again.
    Everything sent is numbered from 0 per sender.

Story
    Capture; the link is cut; capture goes on; the gateway is killed with SIGKILL and started again, the link still cut;
    the link comes back; the backlog drains while capture goes on. Then the feeds stop, and what is on its way arrives.

Told safe, known outside the gateway
    serial      the numbers that a reader of the gateway's socket has seen: readers see only what is durable
    camera      the pictures that one has seen until the camera was switched off
    MQTT        the messages whose PUBACK the device has
    writer      the batches that were answered for

Verdict
    The hub's own streams, read through the hub's socket, against what was told to be safe: per source acknowledged,
    upstream, lost, duplicate, out of order (`edge.demo.verdict`). Exit code 0 where the last three are 0 everywhere and
    nothing else is wrong, else 1.

Limits
    90 s in all. About 30 kB/s are captured. The folder is removed at the end, all processes ended.
"""

from edge.demo.command import main, run_demo

__all__ = ["main", "run_demo"]
