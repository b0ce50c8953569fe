"""Reading and merging the files, and knowing which line of which file a value came from."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

MAX_FILE_BYTES = 1 << 20
MAX_FILES = 100

Raw = dict[str, object]

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"-]+)\s*\]\]?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*(?:\.[^=]*)?=")


@dataclass(frozen=True, slots=True)
class Table:
    """One table of one file: `[node]` (`index` None), or the `index`-th `[[source]]` of that file.

    `lines` has the line of each key, and under the empty key the line of the header.
    """

    section: str
    index: int | None
    file: Path
    values: Raw
    lines: dict[str, int] = field(default_factory=dict)

    def place(self, *keys: str | int) -> str:
        """`/etc/edge/edge.toml:14: source[1].bautrate`."""
        name = self.section if self.index is None else f"{self.section}[{self.index}]"
        for key in keys:
            name += f"[{key}]" if isinstance(key, int) else f".{key}"
        line = self.lines.get(str(keys[0]) if keys else "", self.lines.get(""))
        return f"{self.file}:{line}: {name}" if line is not None else f"{self.file}: {name}"


@dataclass(frozen=True, slots=True)
class Document:
    """All tables of all files, and what is wrong with the files themselves."""

    tables: tuple[Table, ...]
    files: tuple[Path, ...]
    problems: tuple[str, ...]

    def of(self, section: str) -> list[Table]:
        return [table for table in self.tables if table.section == section]


def read_files(path: Path) -> Document:
    """The file at `path` and those of the directories beside it, as tables. Never raises: problems are listed."""
    tables: list[Table] = []
    problems: list[str] = []
    files = [path, *beside(path)]
    if len(files) > MAX_FILES:
        problems.append(f"{path}: {len(files)} files of configuration: at most {MAX_FILES}")
    for file in files[:MAX_FILES]:
        try:
            tables += _tables(file, _read(file), problems)
        except OSError as error:
            problems.append(_unreadable(file, error))
        except UnicodeDecodeError as error:
            problems.append(f"{file}: is not UTF-8 at byte {error.start}")
        except tomllib.TOMLDecodeError as error:
            problems.append(f"{file}: is no TOML: {error}")
    return Document(tuple(tables), tuple(files), tuple(problems))


def beside(path: Path) -> list[Path]:
    """`*.toml` of `NAME.d/` and `conf.d/` beside `path`, in the order of their names."""
    directories = dict.fromkeys((path.with_suffix(".d"), path.with_name("conf.d")))
    return [file for directory in directories for file in sorted(directory.glob("*.toml"))]


def _read(file: Path) -> str:
    size_bytes = file.stat().st_size
    if size_bytes > MAX_FILE_BYTES:
        raise OSError(f"is {size_bytes:,} bytes: a file of configuration has at most {MAX_FILE_BYTES:,}")
    return file.read_text(encoding="utf-8")


def _unreadable(file: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{file}: no such file. Make one with: edge config sample > {file}"
    if isinstance(error, PermissionError):
        return f"{file}: permission denied. Read it as root or as a member of the group edge"
    return f"{file}: {error.strerror or error}"


def _tables(file: Path, text: str, problems: list[str]) -> list[Table]:
    lines = _lines(text)
    tables: list[Table] = []
    for section, value in tomllib.loads(text).items():
        if isinstance(value, dict):
            tables.append(Table(section, None, file, value, lines.get((section, 0), {})))
        elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                tables.append(Table(section, index, file, item, lines.get((section, index), {})))
        else:
            line = lines.get(("", 0), {}).get(section)
            where = f"{file}:{line}" if line is not None else str(file)
            problems.append(f"{where}: {section}: a key outside of any table; put it below its [table]")
    return tables


def _lines(text: str) -> dict[tuple[str, int], dict[str, int]]:
    """(section, index) -> key -> line number; the table's own line under the empty key.

    A line that only looks like a key (inside a text of several lines) may add an entry that nobody asks for.
    """
    found: dict[tuple[str, int], dict[str, int]] = {("", 0): {}}
    counts: dict[str, int] = {}
    current = found[("", 0)]
    within = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            section, _, within = header[2].partition(".")
            if header[1] == "[[" and not within:
                counts[section] = counts.get(section, -1) + 1
            current = found.setdefault((section, counts.get(section, 0)), {})
            current.setdefault(within, number)
        elif not within and (key := _KEY.match(line)):
            current.setdefault(key[1].strip('"'), number)
    return found
