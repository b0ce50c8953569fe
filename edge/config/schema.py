"""JSON Schema of the configuration, for editors that check while one types."""

from __future__ import annotations

from typing import cast

from pydantic import TypeAdapter

from drivers.registry import driver_class, driver_names
from edge.config.files import Raw
from edge.config.tables import HubTable, NodeTable, SourceTable, StreamTable, UpstreamTable


def table_schema(kind: type) -> Raw:
    """The JSON Schema of one table."""
    return cast(Raw, TypeAdapter(kind).json_schema())


def properties(kind: type) -> dict[str, Raw]:
    """Key -> its JSON Schema, with the key's documentation as `description`."""
    return cast(dict[str, Raw], table_schema(kind).get("properties", {}))


def schema() -> Raw:
    """The JSON Schema of a whole file, every registered driver included."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edge.toml",
        "type": "object",
        "additionalProperties": False,
        "required": ["node"],
        "properties": {
            "node": table_schema(NodeTable),
            "source": {"type": "array", "items": {"oneOf": [_source(name) for name in driver_names()]}},
            "stream": {"type": "array", "items": table_schema(StreamTable)},
            "upstream": {"type": "array", "items": table_schema(UpstreamTable)},
            "hub": table_schema(HubTable),
        },
    }


def _source(driver: str) -> Raw:
    common = table_schema(SourceTable)
    own = table_schema(driver_class(driver).Config)
    keys = {**properties(driver_class(driver).Config), **properties(SourceTable), "driver": {"const": driver}}
    needed = {*cast(list[str], common.get("required", [])), *cast(list[str], own.get("required", []))}
    return {
        "title": driver,
        "description": own.get("description", ""),
        "type": "object",
        "additionalProperties": False,
        "properties": keys,
        "required": sorted(needed),
    }
