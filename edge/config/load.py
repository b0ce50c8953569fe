"""From files to a `Config`: every table validated, then what only shows when all of them are seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from drivers.contract import DriverConfigError, SourceSettings, UnknownDriverError
from drivers.registry import driver_class, driver_names
from edge.config.files import Document, Raw, Table, read_files
from edge.config.links import read_hub, read_upstream
from edge.config.model import Config, Hub, SourceConfig, Upstream
from edge.config.tables import LATER, LATER_VALUES, HubTable, NodeTable, SourceTable, StreamTable, UpstreamTable
from edge.config.validate import describe, field_names, make, nearest
from edge.errors import ConfigurationError
from edge.places import absolute
from storage.clock import SystemClock
from storage.errors import InvalidNameError, StorageError
from storage.model import BULK, check_stream_name

SECTIONS = ("hub", "node", "source", "stream", "upstream")
LIMITS = {"source": 1_000, "stream": 10_000, "upstream": 16}

Made = TypeVar("Made")


def load(path: Path) -> Config:
    """The configuration at `path` and beside it. Raises ConfigurationError with every problem there is."""
    document = read_files(path)
    problems = list(document.problems)
    _check_sections(document, problems)
    node = _node(document, path, problems)
    sources = _all(document, "source", lambda table: _source(table, node, problems), problems)
    streams = _all(document, "stream", lambda table: _stream(table, problems), problems)
    upstreams = _all(document, "upstream", lambda table: _upstream(table, problems), problems)
    hub = _hub(document, problems)
    if problems or node is None:
        raise ConfigurationError(sorted(problems, key=_line_of))
    return Config(
        node=node,
        sources=tuple(sources),
        streams=tuple(streams),
        upstreams=tuple(upstreams),
        hub=hub,
        files=document.files,
        notices=tuple(_notices(sources, hub)),
    )


def _line_of(problem: str) -> tuple[str, int]:
    """File and line that a problem begins with: they are reported in the order in which a person mends them."""
    found = re.match(r"(.*?):(\d+):", problem)
    return (found[1], int(found[2])) if found is not None else ("", 0)


def _check_sections(document: Document, problems: list[str]) -> None:
    for table in document.tables:
        if table.section not in SECTIONS:
            problems.append(f"{table.place()}: unknown table{nearest(table.section, SECTIONS)}")
        elif table.section in ("node", "hub") and table.index is not None:
            problems.append(f"{table.place()}: there is one [{table.section}], not a list: write single brackets")
        elif table.section not in ("node", "hub") and table.index is None:
            problems.append(f"{table.place()}: there may be several: write [[{table.section}]]")


def _node(document: Document, path: Path, problems: list[str]) -> NodeTable | None:
    merged = _merged(document, "node", problems)
    if merged is None:
        if not document.problems and not document.of("node"):
            problems.append(f'{path}: node: missing; begin with [node] and name = "…", the identity upstream')
        return None
    node = make(NodeTable, merged.values, merged, problems)
    if node is None:
        return None
    _check_word(node.name, merged, "name", problems)
    return _resolved(node, merged)


def _hub(document: Document, problems: list[str]) -> Hub | None:
    merged = _merged(document, "hub", problems)
    hub = make(HubTable, merged.values, merged, problems) if merged is not None else None
    return read_hub(_resolved(hub, merged), merged, problems) if hub is not None and merged is not None else None


def _merged(document: Document, section: str, problems: list[str]) -> Table | None:
    """The single table of that name, put together from all files. It takes the first file's place."""
    tables = [table for table in document.of(section) if table.index is None]
    if not tables:
        return None
    values: Raw = {}
    origin: dict[str, Table] = {}
    for table in tables:
        for key, value in table.values.items():
            if key in values:
                problems.append(f"{table.place(key)}: also set at {origin[key].place(key)}; remove one of them")
                continue
            values[key] = value
            origin[key] = table
    return replace(tables[0], values=values)


def _all(document: Document, section: str, build: Callable[[Table], Made | None], problems: list[str]) -> list[Made]:
    """Every `[[section]]` built, names checked to be different."""
    tables = [table for table in document.of(section) if table.index is not None]
    if len(tables) > LIMITS[section]:
        problems.append(f"{tables[0].file}: {len(tables)} times [[{section}]]: at most {LIMITS[section]}")
        return []
    seen: dict[str, Table] = {}
    built: list[Made] = []
    for table in tables:
        name = table.values.get("name")
        if isinstance(name, str) and name in seen:
            problems.append(f'{table.place("name")}: "{name}" is also {seen[name].place("name")}; names must differ')
        elif isinstance(name, str):
            seen[name] = table
        made = build(table)
        if made is not None:
            built.append(made)
    return built


def _source(table: Table, node: NodeTable | None, problems: list[str]) -> SourceConfig | None:
    found = len(problems)
    values = _without_later(table, problems)
    common = {key: value for key, value in values.items() if key in field_names(SourceTable)}
    rest = {key: value for key, value in values.items() if key not in common}
    source = make(SourceTable, common, table, problems)
    driver = values.get("driver")
    if not isinstance(driver, str):
        return None
    try:
        kind = driver_class(driver)
    except UnknownDriverError:
        problems.append(f'{table.place("driver")}: no driver is called "{driver}"{nearest(driver, driver_names())}')
        return None
    config = make(kind.Config, rest, table, problems, also=field_names(SourceTable))
    if source is None or config is None or len(problems) > found:
        return None
    _check_word(source.name, table, "name", problems)
    if "{" not in source.stream:
        _check_stream(source.stream, table, "stream", problems)
    settings = SourceSettings(
        name=source.name,
        driver=source.driver,
        stream=source.stream,
        key=source.key,
        commit_interval_s=float(source.commit_interval),
        content_type=source.content_type,
        node=node.name if node is not None else "edge",
        startup=source.startup,
    )
    config = _resolved(config, table)
    try:
        # What a driver can't work with only it knows; making one opens nothing.
        kind(config, settings, SystemClock())
    except DriverConfigError as error:
        problems.append(f"{table.place()}: {error}")
        return None
    return SourceConfig(settings, config)


def _stream(table: Table, problems: list[str]) -> StreamTable | None:
    stream = make(StreamTable, _without_later(table, problems), table, problems)
    if stream is None:
        return None
    _check_stream(stream.name, table, "name", problems)
    if stream.durable_every is not None and stream.kind != BULK:
        problems.append(
            f'{table.place("durable_every")}: this stream is of kind "{stream.kind}", where it says nothing: remove it, or '
            'write kind = "bulk". A source has its commit_interval'
        )
    try:
        stream.store_config()
    except StorageError as error:
        problems.append(f"{table.place('scaling')}: {error}")
        return None
    return stream


def _upstream(table: Table, problems: list[str]) -> Upstream | None:
    upstream = make(UpstreamTable, _without_later(table, problems), table, problems)
    if upstream is None:
        return None
    _check_word(upstream.name, table, "name", problems)
    return read_upstream(_resolved(upstream, table), table, problems)


def _without_later(table: Table, problems: list[str]) -> Raw:
    """The values that this version knows; the others are problems."""
    values = dict(table.values)
    for key, instead in LATER[table.section].items():
        if key in values:
            problems.append(f"{table.place(key)}: not supported by this version: {instead}; remove the key")
            del values[key]
    for key, later in LATER_VALUES[table.section].items():
        if values.get(key) in later:
            problems.append(f"{table.place(key)}: {describe(values[key])} is not supported by this version")
            if table.section != "source":
                del values[key]
    return values


def _check_word(name: str, table: Table, key: str, problems: list[str]) -> None:
    """A name that becomes one word of a stream's name, or of a path of the local API."""
    _check_stream(name, table, key, problems)
    if "/" in name:
        problems.append(f'{table.place(key)}: "{name}" has a slash; use letters, digits and _.~@:+=-')


def _check_stream(name: str, table: Table, key: str, problems: list[str]) -> None:
    try:
        check_stream_name(name)
    except InvalidNameError as error:
        problems.append(f"{table.place(key)}: {error}")


def _resolved(made: Made, table: Table) -> Made:
    """Its paths absolute: what is relative is relative to the file that says it."""
    assert is_dataclass(made) and not isinstance(made, type)
    paths = {
        field.name: absolute(value, table.file)
        for field in fields(made)
        if isinstance(value := getattr(made, field.name), Path)
    }
    return cast(Made, replace(made, **paths)) if paths else made


def _notices(sources: Iterable[SourceConfig], hub: Hub | None) -> Iterable[str]:
    if not list(sources) and hub is None:
        yield "no [[source]] and no [hub]: only what is written to the local socket is stored"
