"""The demo on a terminal that a person enjoys, and as plain lines anywhere else."""

from __future__ import annotations

from collections import deque
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edge.demo.story import Outcome, Picture, Standing
from edge.words import count

LINES = 8
BAR_WIDTH = 18
LOOK_LINE_EVERY_S = 5.0


class PlainShow:
    """A line for each turn of the story, and one every five seconds for where everything stands."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._due_s = 0.0

    def say(self, elapsed_s: float, text: str) -> None:
        self._out.write(f"{elapsed_s:5.1f} s  {text}\n")
        self._out.flush()

    def look(self, picture: Picture) -> None:
        if picture.elapsed_s < self._due_s:
            return
        self._due_s = picture.elapsed_s + LOOK_LINE_EVERY_S
        sources = "; ".join(f"{s.name} {count(s.safe)} safe, {count(s.upstream)} upstream" for s in picture.sources)
        state = f"gateway {picture.gateway}, link {picture.link}"
        self._out.write(f"{picture.elapsed_s:5.1f} s    {state}; {sources}\n")
        self._out.flush()

    def close(self) -> None:
        """Nothing is held back."""


class LiveShow:
    """One screen that changes in place. Made for 80x24; colour only repeats what glyphs and words say."""

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out, highlight=False)
        self._lines: deque[tuple[float, str]] = deque(maxlen=LINES)
        self._picture: Picture | None = None
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._live.start()

    def say(self, elapsed_s: float, text: str) -> None:
        self._lines.append((elapsed_s, text))
        self._draw()

    def look(self, picture: Picture) -> None:
        self._picture = picture
        self._draw()

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> None:
        self._live.update(screen(self._picture, list(self._lines), self._console.height), refresh=True)


def screen(picture: Picture | None, lines: list[tuple[float, str]], height: int = 24) -> RenderableType:
    """Everything at one moment. The newest lines of the story that fit below the picture."""
    parts: list[RenderableType] = [Text("edge demo", style="bold")]
    if picture is not None:
        parts += [_chain(picture), Text(), _sources(picture.sources), Text()]
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    room = max(3, (height - 9 - (len(picture.sources) if picture is not None else 0)) // 2)
    for index, (elapsed_s, text) in enumerate(lines[-room:]):
        newest = index == len(lines[-room:]) - 1
        table.add_row(f"{elapsed_s:.1f} s", Text(text, style="bold" if newest else "dim"))
    parts.append(table)
    return Padding(Group(*parts), (0, 1))


_STATES = {
    "running": ("●", "green"),
    "killed": ("✗", "bold red"),
    "starting": ("◐", "yellow"),
    "down": ("✗", "bold red"),
}


def _chain(picture: Picture) -> Text:
    """Devices, gateway, link, hub, from left to right."""
    gateway_glyph, gateway_style = _STATES[picture.gateway]
    hub_glyph, hub_style = _STATES[picture.hub]
    cut = picture.link == "cut"
    moving = picture.link in ("draining", "live", "up")
    wire = "━━━━ ╳ ━━━━" if cut else "━━━━━━━━━━▶" if moving else "╌╌╌╌╌╌╌╌╌╌▶"
    return Text.assemble(
        "devices ━━▶ ",
        (f"{gateway_glyph} gateway {picture.gateway}", gateway_style),
        "  ",
        (wire, "bold red" if cut else "green" if moving else "yellow"),
        (f" {picture.link} ", "bold red" if cut else ""),
        " ",
        (f"{hub_glyph} hub {picture.hub}", hub_style),
    )


def _sources(sources: tuple[Standing, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("SOURCE", no_wrap=True)
    for title in ("SENT", "SAFE HERE", "UPSTREAM"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("ARRIVED", no_wrap=True)
    for source in sources:
        table.add_row(
            source.kind,
            count(source.sent),
            count(source.safe),
            count(source.upstream),
            _bar(source.safe, source.upstream),
        )
    return table


def _bar(safe: int, upstream: int) -> Text:
    """How much of what is safe is upstream; the rest waits on the gateway's disk."""
    full = BAR_WIDTH if upstream >= safe else BAR_WIDTH * upstream // safe
    waiting = max(0, safe - upstream)
    tail = f" {count(waiting)} waiting" if waiting else ""
    return Text.assemble(("█" * full, "green"), ("░" * (BAR_WIDTH - full), "yellow"), tail)


COLUMNS = ("ACKNOWLEDGED", "UPSTREAM", "LOST", "DUPLICATE", "OUT OF ORDER")


def result(outcome: Outcome) -> RenderableType:
    """The table at the end, and one sentence."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("SOURCE", no_wrap=True)
    for title in COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    for name, verdict in outcome.verdicts.items():
        wrong = [verdict.lost, verdict.duplicate, verdict.out_of_order]
        table.add_row(
            outcome.kinds.get(name, name),
            count(verdict.acknowledged),
            count(verdict.upstream),
            *(Text(count(number), style="bold red" if number else "green") for number in wrong),
        )
    parts: list[RenderableType] = [Text(), table, Text()]
    parts += [Text(f"✗ {trouble}", style="red") for trouble in outcome.troubles]
    elapsed = f"{outcome.elapsed_s:.0f} s"
    if outcome.ok:
        parts.append(Text(f"● Nothing lost, nothing doubled, nothing out of order, after {elapsed}.", "bold green"))
    else:
        parts.append(Text(f"✗ A promise was broken: see above ({elapsed}).", "bold red"))
    return Group(*parts)


def show_result(outcome: Outcome, out: TextIO) -> None:
    """Print the result; into a pipe without colour and at a fixed width."""
    console = Console(file=out, highlight=False) if out.isatty() else Console(file=out, width=100, color_system=None)
    console.print(result(outcome))
