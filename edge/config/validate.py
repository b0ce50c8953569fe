"""One table into its dataclass, by pydantic; its errors in our words, with the place of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from typing import TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from edge.config.files import Raw, Table

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class _Detail:
    """One error as pydantic has it: `place` are the keys that lead to it, `context` depends on its type."""

    type: str
    place: tuple[int | str, ...]
    text: str
    found: object
    context: Mapping[str, object]


_EXPECTED = {
    "string_type": "a text",
    "path_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "dataclass_type": "a table",
}


def make(kind: type[Made], values: Raw, table: Table, problems: list[str], also: Iterable[str] = ()) -> Made | None:
    """A `kind` of the values, or None with a line in `problems` for each thing that is wrong.

    `also` are keys that the table may have besides, so that they are offered as the nearest name.
    """
    known = [*field_names(kind), *also]
    try:
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        problems += [
            _problem(
                _Detail(found["type"], found["loc"], found["msg"], found["input"], found.get("ctx", {})),
                values,
                table,
                kind,
                known,
            )
            for found in error.errors(include_url=False)
        ]
        return None


def field_names(kind: type) -> list[str]:
    """The keys that a table of this kind may have."""
    return [field.name for field in fields(kind)]


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean "baud"?`, or what there is."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return f'; did you mean "{near[0]}"?' if near else f"; there are: {', '.join(names)}"


def _problem(detail: _Detail, values: Raw, table: Table, kind: type, known: list[str]) -> str:
    location = detail.place
    keys = [
        key
        for position, key in enumerate(location)
        if position == 0 or isinstance(key, int) or _has(values, location, position)
    ]
    place = table.place(*keys)
    if detail.type in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{place}: unknown key{nearest(str(location[-1]), _known_at(kind, location) or known)}"
    if detail.type == "missing":
        return f"{place}: missing; a [{_bracketed(table)}] needs it"
    if detail.type == "literal_error":
        return f"{place}: expected {detail.context['expected']}, found {describe(detail.found)}"
    if detail.type == "value_error":
        return f"{place}: {detail.context['error']}"
    if detail.type in _EXPECTED:
        expected = _EXPECTED[detail.type]
        return f"{place}: expected {expected}, found {describe(detail.found)}{_unquote(detail.type, detail.found)}"
    return f"{place}: {detail.text.lower()}, found {describe(detail.found)}"


def _has(values: Raw, location: tuple[int | str, ...], position: int) -> bool:
    """Whether the key at `position` is one of the file: pydantic adds names of its own for the members of a union."""
    found: object = values
    for key in location[:position]:
        if isinstance(found, list) and isinstance(key, int):
            found = found[key]
        else:
            found = found.get(str(key)) if isinstance(found, Mapping) else None
    return isinstance(found, Mapping) and location[position] in found


def _known_at(kind: type, location: tuple[int | str, ...]) -> list[str]:
    """The keys of the table in a list that an error lies in, as in `registers[1].adress`; none where it lies elsewhere."""
    if len(location) != 3 or not isinstance(location[1], int):
        return []
    members = get_args(get_type_hints(kind).get(str(location[0])))
    member = members[0] if members else None
    return field_names(member) if isinstance(member, type) and is_dataclass(member) else []


def _bracketed(table: Table) -> str:
    return f"[{table.section}]" if table.index is not None else table.section


def describe(value: object) -> str:
    """A value of the file with the name of its type: `the text "9600"`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the text "{value}"'
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "a table"
    return f"{value}"


def _unquote(kind: str, value: object) -> str:
    """A number in quotes is the most frequent mistake: say how to mend it."""
    if (
        kind in ("int_type", "float_type")
        and isinstance(value, str)
        and value.strip().lstrip("-").replace(".", "", 1).isdigit()
    ):
        return f"; write it without quotes: {value.strip()}"
    if kind == "bool_type" and isinstance(value, str) and value in ("true", "false"):
        return f"; write it without quotes: {value}"
    if kind == "tuple_type" and isinstance(value, str):
        return f'; write ["{value}"]'
    return ""
