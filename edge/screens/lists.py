"""Tables of sources, uplinks and streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge.screens.words import state
from edge.snapshot import NodeSnapshot, SourceSnapshot, StreamSnapshot, UplinkSnapshot
from edge.words import ago, count, count_of, size


def _table(*columns: tuple[str, bool]) -> Table:
    """A table without lines, which a thin link and a pipe both carry. A column is its title and: is it a number."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=False)
    for title, number in columns:
        table.add_column(title, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def sources_table(sources: Sequence[SourceSnapshot], now_ns: int) -> RenderableType:
    """A line for each source, and below it what is wrong with one that is not well."""
    table = _table(("SOURCE", False), ("DRIVER", False), ("STATE", False), ("EVENTS", True), ("LOST", True))
    table.add_column("LAST")
    for source in sources:
        table.add_row(
            source.name,
            source.driver,
            state(source.state),
            count(source.events),
            count(source.lost),
            ago(source.last_event_ns, now_ns),
        )
    return Group(table, *_details([(source.name, source.detail) for source in sources]))


def _details(pairs: Sequence[tuple[str, str]]) -> list[RenderableType]:
    return [Text(f"  {name}: {detail}") for name, detail in pairs if detail]


def uplinks_table(uplinks: Sequence[UplinkSnapshot], now_ns: int) -> RenderableType:
    """A line for each uplink, and below it why one is not live."""
    table = _table(("UPLINK", False), ("STATE", False), ("BEHIND", True), ("SENT", True), ("CONFIRMED", False))
    table.add_column("GUARANTEE", overflow="fold")
    for uplink in uplinks:
        table.add_row(
            uplink.name,
            state(uplink.state),
            _behind(uplink),
            count(uplink.sent_events),
            ago(uplink.confirmed_ns, now_ns),
            uplink.guarantee,
        )
    return Group(table, *_details([(uplink.name, uplink.detail) for uplink in uplinks]))


def _behind(uplink: UplinkSnapshot) -> str:
    """Events, or bytes where only they are known."""
    return size(uplink.behind_bytes) if uplink.behind_events is None else count(uplink.behind_events)


def streams_table(streams: Sequence[StreamSnapshot], *, segments: bool = False) -> RenderableType:
    """A line for each stream: how much it holds, what is missing, what upstream does not have yet.

    `segments`: also how many are open.
    """
    columns = [("STREAM", False), ("EVENTS", True), ("SIZE", True), ("OPEN", True), ("GAPS", True), ("LAG", False)]
    table = _table(*(column for column in columns if segments or column[0] != "OPEN"))
    for stream in streams:
        gaps = Text(count(sum(segment.gaps for segment in stream.segments)))
        lag = ", ".join(f"{lag.upstream} {size(lag.bytes) if lag.bytes else 'has all'}" for lag in stream.lag)
        is_open = [str(sum(segment.state == "OPEN" for segment in stream.segments))] if segments else []
        table.add_row(
            stream.name,
            count(stream.events),
            size(stream.bytes),
            *is_open,
            gaps,
            lag or ("local" if stream.origin is None else f"mirror of {stream.origin}"),
        )
    return table


def streams_screen(node: NodeSnapshot) -> RenderableType:
    """`edge streams`."""
    if not node.streams:
        return Text("No streams yet: one is made when the first event for it arrives.")
    total = f"{count_of(len(node.streams), 'stream')}, {size(sum(stream.bytes for stream in node.streams))}"
    return Group(streams_table(node.streams, segments=True), Text(total, style="dim"))


def sources_screen(node: NodeSnapshot) -> RenderableType:
    """`edge sources`: also what each writes to, and what it counted."""
    if not node.sources:
        return Text("No sources are configured: add a [[source]] to the configuration (see: edge config sample).")
    table = _table(
        ("SOURCE", False),
        ("STATE", False),
        ("STREAM", False),
        ("EVENTS", True),
        ("BAD", True),
        ("LOST", True),
        ("REFUSED", True),
        ("RESTARTS", True),
    )
    for source in node.sources:
        table.add_row(
            source.name,
            state(source.state),
            source.target,
            count(source.events),
            count(source.bad),
            count(source.lost),
            count(source.refused),
            count(source.restarts),
        )
    details = [(source.name, source.detail) for source in node.sources]
    counted = [(source.name, _counted(source.counters)) for source in node.sources]
    return Group(table, *_details(details), *_details(counted))


def _counted(counters: Mapping[str, int]) -> str:
    """What a driver counted of its own."""
    return ", ".join(f"{count(counted)} {name.replace('_', ' ')}" for name, counted in counters.items() if counted)


def uplinks_screen(node: NodeSnapshot) -> RenderableType:
    """`edge sync`: also where each goes to and its ledger."""
    if not node.uplinks:
        return Text("No upstreams are configured: add an [[upstream]] to the configuration (see: edge config sample).")
    parts: list[RenderableType] = [uplinks_table(node.uplinks, node.now_ns), Text()]
    for uplink in node.uplinks:
        through = f"through commit {count(uplink.confirmed_commit)} of {count(node.store.last_commit)}"
        to_go = f"{_behind(uplink)} events ({size(uplink.behind_bytes)}) to go"
        parts.append(Text(f"{uplink.name}: {uplink.url}, {', '.join(uplink.streams)}; {through}, {to_go}"))
    return Group(*parts)
