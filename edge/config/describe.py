"""A configuration in words."""

from __future__ import annotations

from edge.config.model import Config


def describe(found: Config) -> list[str]:
    """What `edge run` would run, a line for each."""
    lines = [f"node {found.node.name}: data in {found.node.data_dir}, local API at {found.node.socket}"]
    lines += [
        f"source {source.name}: {source.settings.driver} into {source.settings.stream}" for source in found.sources
    ]
    lines += [f"stream {stream.name}: {stream.kind}, priority {stream.priority}" for stream in found.streams]
    lines += [
        f"upstream {upstream.name}: {', '.join(upstream.table.streams)} to {upstream.table.url}"
        for upstream in found.upstreams
    ]
    if found.hub is not None:
        secured = "TLS" if found.hub.table.certificate is not None else "plain http"
        nodes = "any node" if found.hub.tokens is None else f"{len(found.hub.tokens)} nodes by token"
        lines.append(f"hub: at {found.hub.table.listen}, {secured}, {nodes}")
    return lines
