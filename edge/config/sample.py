"""A commented sample, made from the tables and every registered driver, so that it can't fall behind them.

Take the `#` off a line that begins with `#` and a key or a bracket, and it is configuration. `##` begins prose.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from drivers.registry import driver_class, driver_names
from edge.config.files import Raw
from edge.config.schema import properties, table_schema
from edge.config.tables import HubTable, NodeTable, SourceTable, StreamTable, UpstreamTable

_EXAMPLES: dict[str, dict[str, str]] = {
    "node": {"name": '"pump-7"', "disk_limit": '"8GiB"'},
    "source": {
        "name": '"flow"',
        "stream": '"plant/flow"',
        "registers": '[{ name = "flow", device = 1, table = "holding", address = 0, type = "float32", unit = "m3/h" }]',
    },
    "stream": {
        "name": '"plant/flow"',
        "attributes": '{ unit = "m3/h" }',
        "scaling": '{ by = "events", target_per_s = 500 }',
    },
    "upstream": {"name": '"hub"', "url": '"https://hub.example:7443"', "token_file": '"/etc/edge/hub-token"'},
    "hub": {"listen": '"127.0.0.1:7443"'},
}
_WIDTH = 112


def sample() -> str:
    """The sample as text."""
    lines = [
        "## Configuration of edge. Check it with: edge config check",
        '## Sizes are written "8GiB", times "500ms", "15m", "30d".',
        "",
        *_section("[node]", NodeTable, _EXAMPLES["node"], commented=False),
    ]
    for index, driver in enumerate(driver_names()):
        lines += ["", *_source(driver, documented=index == 0)]
    lines += ["", *_section("[[stream]]", StreamTable, _EXAMPLES["stream"])]
    lines += ["", *_section("[[upstream]]", UpstreamTable, _EXAMPLES["upstream"])]
    lines += ["", *_section("[hub]", HubTable, _EXAMPLES["hub"])]
    return "\n".join(lines) + "\n"


def _source(driver: str, *, documented: bool) -> Iterator[str]:
    """One driver's source. The keys that all sources have are explained once."""
    kind = driver_class(driver).Config
    yield from _prose(
        f"{table_schema(kind).get('description', '')} When the store pushes back: {driver_class(driver).pushback}."
    )
    yield "#[[source]]"
    examples = _EXAMPLES["source"] | {"name": f'"{driver}"', "driver": f'"{driver}"', "stream": f'"plant/{driver}"'}
    needed = ("name", "driver", "stream")
    for key, described in properties(SourceTable).items():
        if documented or key in needed:
            yield from _key(key, described, examples, optional=key not in needed, commented=True)
    for key, described in properties(kind).items():
        yield from _key(key, described, examples, optional=True, commented=True)


def _section(header: str, kind: type, examples: dict[str, str], *, commented: bool = True) -> Iterator[str]:
    described = table_schema(kind)
    required = described.get("required", [])
    assert isinstance(required, list)
    yield from _prose(str(described.get("description", "")))
    yield f"#{header}" if commented else header
    for key, about in properties(kind).items():
        yield from _key(key, about, examples, optional=key not in required, commented=commented)


def _key(key: str, described: Raw, examples: dict[str, str], *, optional: bool, commented: bool) -> Iterator[str]:
    """Its documentation and a line that sets it: to its default, or to an example where it has none to show."""
    yield from _prose(f"{described.get('description', '')}")
    default = described.get("default")
    value = examples.get(key) or _toml(default)
    if value is None:
        yield f"##   {key} = (not set)"
        return
    yield f"#{key} = {value}" if commented or optional else f"{key} = {value}"


def _prose(text: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), _WIDTH):
        yield f"## {line}"


def _toml(value: object) -> str | None:
    """A value as TOML, None where TOML has no word for it. JSON's texts, numbers and lists are TOML's."""
    if value is None:
        return None
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }" if value else "{}"
    return json.dumps(value, ensure_ascii=False)
