"""The appliance at its top: the only place where drivers, storage and sync meet.

Parts
    `edge.config`     strict TOML into frozen dataclasses, once, at the start
    `edge.daemon`     `edge run`: the threads, the clock, the signals; everything below it is steps
    `edge.http`       what listens: the local API on a Unix socket, the hub on TCP
    `edge.snapshot`   what a node is doing, as data
    `edge.screens`    snapshots as a technician sees them
    `edge.client`     a program on the same box: reads, writes and transactions over the local socket
    `edge.export`     a range of a stream into a file
    `edge.cli`        one file for each verb

A program beside a running daemon uses `edge.Client`; a program that owns the store uses `storage.SegmentStore`.
"""

from edge.client import Client
from edge.errors import ConfigurationError, DaemonUnreachableError, EdgeError, RequestRefusedError
from edge.transaction import ClientTransaction, WriteAnswer

__all__ = [
    "Client",
    "ClientTransaction",
    "ConfigurationError",
    "DaemonUnreachableError",
    "EdgeError",
    "RequestRefusedError",
    "WriteAnswer",
]
