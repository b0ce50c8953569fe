"""A configuration in words."""

from __future__ import annotations

from edge.config.model import Config
from edge.config.tables import StreamTable
from edge.words import count_of


def describe(found: Config) -> list[str]:
    """What `edge run` would run, a line for each."""
    lines = [f"node {found.node.name}: data in {found.node.data_dir}, local API at {found.node.socket}"]
    lines += [
        f"source {source.name}: {source.settings.driver} into {source.settings.stream}" for source in found.sources
    ]
    lines += [_stream(stream) for stream in found.streams]
    lines += [
        f"upstream {upstream.name}: {', '.join(upstream.table.streams)} to {upstream.table.url}"
        for upstream in found.upstreams
    ]
    if found.hub is not None:
        secured = "TLS" if found.hub.table.certificate is not None else "plain http"
        nodes = "any node" if found.hub.tokens is None else f"{len(found.hub.tokens)} nodes by token"
        lines.append(f"hub: at {found.hub.table.listen}, {secured}, {nodes}")
    return lines


def _stream(stream: StreamTable) -> str:
    config = stream.store_config()
    kind = f"bulk, durable every {config.durable_every_s:g} s" if config.durable_every_s else stream.kind
    line = f"stream {stream.name}: {kind}, priority {stream.priority}"
    if (scaling := stream.scaling) is None:
        return line
    segments = f"{scaling.min_segments} to {scaling.max_segments} segments"
    if scaling.by == "fixed":
        return f"{line}, {count_of(scaling.min_segments, 'segment')}"
    return f"{line}, {segments} by {scaling.by}, {scaling.target_per_s:g}/s each"
