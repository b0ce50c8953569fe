"""A snapshot in the Prometheus text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable

from edge.snapshot import NodeSnapshot

Sample = tuple[dict[str, str], float]


def metrics_text(node: NodeSnapshot) -> str:
    """All metrics of a node. Counters begin anew when the program starts, but for those of streams."""
    store = node.store
    parts = [
        _metric("edge_info", "gauge", "What runs.", [({"node": node.node, "version": node.version}, 1)]),
        _metric("edge_commits", "counter", "Newest durable commit.", [({}, store.last_commit)]),
        _metric(
            "edge_store_blocked", "gauge", "1 while nothing can be made durable.", [({}, float(bool(store.blocked)))]
        ),
        _metric("edge_disk_bytes", "gauge", "Bytes that the store takes on disk.", [({}, store.disk_bytes)]),
        _metric("edge_disk_free_bytes", "gauge", "Free bytes where the store is.", [({}, store.free_bytes)]),
    ]
    streams = [({"stream": stream.name}, stream) for stream in node.streams]
    parts += [
        _metric("edge_stream_events", "counter", "Events ever stored.", [(at, s.events) for at, s in streams]),
        _metric("edge_stream_bytes", "gauge", "Bytes held, uncompressed.", [(at, s.bytes) for at, s in streams]),
        _metric(
            "edge_stream_segments",
            "gauge",
            "Open segments.",
            [(at, sum(segment.state == "OPEN" for segment in s.segments)) for at, s in streams],
        ),
        _metric(
            "edge_stream_gaps",
            "counter",
            "Ranges that are gone.",
            [(at, sum(segment.gaps for segment in s.segments)) for at, s in streams],
        ),
    ]
    sources = [({"source": source.name, "driver": source.driver}, source) for source in node.sources]
    parts += [
        _metric("edge_source_up", "gauge", "1 while it captures.", [(at, s.state == "RUNNING") for at, s in sources]),
        _metric("edge_source_events", "counter", "Events made durable.", [(at, s.events) for at, s in sources]),
        _metric("edge_source_lost", "counter", "Events known to be lost.", [(at, s.lost) for at, s in sources]),
        _metric("edge_source_refused", "counter", "Events above a limit.", [(at, s.refused) for at, s in sources]),
        _metric(
            "edge_source_restarts", "counter", "Times it was opened again.", [(at, s.restarts) for at, s in sources]
        ),
    ]
    uplinks = [({"upstream": uplink.name}, uplink) for uplink in node.uplinks]
    parts += [
        _metric("edge_uplink_moving", "gauge", "1 while data moves.", [(at, u.moving) for at, u in uplinks]),
        _metric("edge_uplink_sent_events", "counter", "Events confirmed.", [(at, u.sent_events) for at, u in uplinks]),
        _metric("edge_uplink_sent_bytes", "counter", "Bytes confirmed.", [(at, u.sent_bytes) for at, u in uplinks]),
        _metric(
            "edge_uplink_behind_bytes", "gauge", "Bytes upstream lacks.", [(at, u.behind_bytes) for at, u in uplinks]
        ),
        _metric(
            "edge_uplink_confirmed_seconds",
            "gauge",
            "When upstream confirmed last, since 1970.",
            [(at, u.confirmed_ns / 1e9) for at, u in uplinks if u.confirmed_ns is not None],
        ),
    ]
    return "".join(parts)


def _metric(name: str, kind: str, meaning: str, samples: Iterable[Sample]) -> str:
    lines = [f"{name}{_labels(labels)} {float(value):.17g}" for labels, value in samples]
    return (
        "".join(f"{line}\n" for line in (f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", *lines)) if lines else ""
    )


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
