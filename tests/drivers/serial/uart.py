"""A UART in bits: what a receiver with other settings makes of what a sender says.

The sender's line is levels over time. The receiver waits for a falling edge, looks again in the middle of the start bit, then
samples each bit in its middle, and after a stop bit that is low waits until the line is high again.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from drivers.serial.detecting import EIGHT_NONE, Character


class Received(NamedTuple):
    """A byte, and whether its stop or parity bit was wrong."""

    byte: int
    damaged: bool


@dataclass(frozen=True, slots=True)
class Speech:
    """Bursts of bytes, each `pause_s` after the end of the one before. `data` is what was meant."""

    bursts: tuple[bytes, ...]
    baud: int
    character: Character = EIGHT_NONE
    pause_s: float = 0.0


@lru_cache(maxsize=64)
def _levels(speech: Speech) -> tuple[list[float], list[int]]:
    """When the line changes, and to what."""
    times, levels, now_s, level = [-1.0], [1], 0.0, 1
    for burst in speech.bursts:
        for byte in burst:
            for bit in _bits(byte, speech.character):
                if bit != level:
                    times.append(now_s)
                    levels.append(bit)
                    level = bit
                now_s += 1 / speech.baud
        now_s += speech.pause_s
    return times, levels


def _bits(byte: int, character: Character) -> list[int]:
    data = [byte >> index & 1 for index in range(character.bytesize)]
    parity = {"none": [], "even": [sum(data) % 2], "odd": [1 - sum(data) % 2]}[character.parity]
    return [0, *data, *parity, 1]


def received(speech: Speech, baud: int, character: Character = EIGHT_NONE, most_bytes: int = 1_000) -> list[Received]:
    """What a receiver with these settings hears, up to `most_bytes`."""
    times, levels = _levels(speech)
    bit_s = 1 / baud

    def level(at_s: float) -> int:
        return levels[bisect_right(times, at_s) - 1]

    heard: list[Received] = []
    edge = 0
    bits = character.bytesize + (character.parity != "none")
    while (edge := _next_fall(levels, edge)) < len(times) and len(heard) < most_bytes:
        start_s = times[edge]
        if level(start_s + bit_s / 2):
            edge += 1
            continue
        sampled = [level(start_s + (index + 1.5) * bit_s) for index in range(bits + 1)]
        byte = sum(bit << index for index, bit in enumerate(sampled[: character.bytesize]))
        wrong_parity = character.parity != "none" and sum(sampled[:bits]) % 2 != (character.parity == "odd")
        heard.append(Received(byte, wrong_parity or not sampled[bits]))
        edge = bisect_right(times, start_s + (bits + 1.5) * bit_s)
        if edge < len(times) and not level(start_s + (bits + 1.5) * bit_s):
            # Low where it should stop: the next rise comes first, and the fall behind it.
            edge += 1
    return heard


def _next_fall(levels: list[int], index: int) -> int:
    while index < len(levels) and levels[index]:
        index += 1
    return index
