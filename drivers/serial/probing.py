"""What is plugged in, and how it speaks: listens to each port under one setting after the other.

Nothing is sent: a probe must not switch a pump on. So a device that only answers is not recognised, and is told with no score.

A port is listened to at each standard rate with eight bits and no parity, for at most an eighth of `timeout_s` or until enough
was said; a device that talks once a second is heard at each with the 10 s that are the default. Where that makes no sense of it,
the best three rates are listened to again with parity. Judging is in `detecting`. A rate that is certain ends the search; so it
takes a second or two for most devices, and 1.4 times `timeout_s`, twice that with parity, for one that talks rarely.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from serial.tools import list_ports

from drivers.contract import DeviceLostError, Found
from drivers.serial.detecting import (
    CERTAIN,
    EIGHT_NONE,
    RATES,
    WITH_PARITY,
    Character,
    Guess,
    Heard,
    guess,
    ranked,
)
from drivers.serial.line import Line
from drivers.serial.marks import Kind
from drivers.serial.names import by_id
from storage.clock import Clock

ENOUGH_BYTES = 400
BURST_BYTES = 24
BURST_GAP_S = 0.15
"""After `BURST_BYTES`, silence of this length is the end of what is said in one go."""
SHARE_OF_TIMEOUT = 8
SILENT_AFTER = 4
"""Rates at which nothing was heard: then the device does not talk. The first few are slow and fast ones."""
LEAST_SCORE = 0.2
MOST_CANDIDATES = 3
AGAIN_WITH_PARITY = 3
RELIABLE = 0.8

Listen = Callable[[int, Character], Heard]

_log = logging.getLogger(__name__)


def probe(clock: Clock, *, at: str | None = None, timeout_s: float = 10.0) -> Iterator[Found]:
    """The serial devices that are there, or the one `at` a port; candidates of one device best first.

    A device that says nothing is told without a score, and so is one that can't be opened, unless it is `at` that can't:
    then DeviceLostError is raised.
    """
    for port in [at] if at is not None else _ports():
        try:
            line = Line(port, RATES[0])
        except DeviceLostError as error:
            if at is not None:
                raise
            _log.warning("%s", error)
            yield Found(device=port, settings={"port": port})
            continue
        try:
            guesses = candidates(lambda baud, character, line=line: _listen(line, clock, baud, character, timeout_s))  # type: ignore[misc]
        finally:
            line.close()
        for found in guesses:
            yield Found(device=port, settings={"port": port, **found.settings}, score=found.score, sample=found.sample)
        if not guesses:
            yield Found(device=port, settings={"port": port})


def candidates(listen: Listen) -> list[Guess]:
    """The settings that make sense, best first; none where nothing was heard. `listen` is asked for one after the other."""
    heard: list[Heard] = []
    for baud in RATES:
        heard.append(listen(baud, EIGHT_NONE))
        if len(heard) == SILENT_AFTER and not any(one.data for one in heard):
            return []
        if guess(heard[-1]).score >= CERTAIN:
            break
    guesses = ranked([guess(one) for one in heard])
    if guesses[0].score < RELIABLE:
        # What the receiver calls damaged may be right but for the parity bit.
        undamaged = ranked([guess(replace(one, damaged=0)) for one in heard if one.data])
        rates = [int(found.settings["baud"]) for found in undamaged[:AGAIN_WITH_PARITY]]
        guesses = ranked(guesses + [guess(listen(baud, character)) for baud in rates for character in WITH_PARITY])
    sensible = [found for found in guesses if found.score >= LEAST_SCORE] or guesses[:1]
    return [found for found in sensible if found.score > 0][:MOST_CANDIDATES]


def _listen(line: Line, clock: Clock, baud: int, character: Character, timeout_s: float) -> Heard:
    line.set_up(baud, character.bytesize, character.parity)
    data = bytearray()
    damaged = 0
    left_s = timeout_s / SHARE_OF_TIMEOUT
    while left_s > 0 and len(data) < ENOUGH_BYTES:
        wait_s = min(left_s, BURST_GAP_S) if len(data) >= BURST_BYTES else left_s
        before_ns = clock.boot_ns()
        pieces = line.read(wait_s)
        if not pieces:
            break
        left_s -= (clock.boot_ns() - before_ns) / 1e9
        for kind, piece in pieces:
            data += piece or b"\x00"
            damaged += 1 if kind is not Kind.DATA else 0
    return Heard(baud, character, bytes(data), damaged)


def _ports() -> list[str]:
    """Each under its stable name, where it has one."""
    stable = {str(Path(name).resolve()): name for name in by_id()}
    return sorted(stable.get(port.device, port.device) for port in list_ports.comports())
