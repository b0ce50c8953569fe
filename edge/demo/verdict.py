"""The oracle: what sources were told is safe, against what the hub holds. Pure: no clock, no file, no network.

Everything that is sent is numbered per key, from 0 on, so that a loss, a repetition or a change of order shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

MAX_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of events, over one key or more.

    `acknowledged` were told to be safe, `upstream` are held there (repetitions included). Lost is what was told to be
    safe and is not held: before the first that is held of its key (`lost_prefix`), behind the last (`lost_suffix`), or
    between. `strange` are held and were never sent: garbled, or of an unknown key. `examples` names some of what is wrong.
    """

    acknowledged: int = 0
    upstream: int = 0
    lost_prefix: int = 0
    lost_middle: int = 0
    lost_suffix: int = 0
    duplicate: int = 0
    out_of_order: int = 0
    strange: int = 0
    examples: tuple[str, ...] = ()

    @property
    def lost(self) -> int:
        return self.lost_prefix + self.lost_middle + self.lost_suffix

    @property
    def clean(self) -> bool:
        """Nothing lost, doubled, out of order or strange."""
        return not (self.lost or self.duplicate or self.out_of_order or self.strange)

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.acknowledged + other.acknowledged,
            self.upstream + other.upstream,
            self.lost_prefix + other.lost_prefix,
            self.lost_middle + other.lost_middle,
            self.lost_suffix + other.lost_suffix,
            self.duplicate + other.duplicate,
            self.out_of_order + other.out_of_order,
            self.strange + other.strange,
            (*self.examples, *other.examples)[:MAX_EXAMPLES],
        )


def judge(told: Mapping[str, Set[int]], sent: Mapping[str, int], held: Iterable[tuple[str, int] | None]) -> Verdict:
    """The verdict on one source.

    `told`: for each key the numbers that were told to be safe. `sent`: for each key how many were sent. `held`: key and
    number of each event in the order in which the hub holds them, None where an event bears no number that checks.
    """
    by_key: dict[str, list[int]] = {key: [] for key in {*told, *sent}}
    strange: list[str] = []
    for event in held:
        if event is None:
            strange.append("an event whose number does not check")
        elif event[0] not in by_key or event[1] >= sent.get(event[0], 0):
            strange.append(f"{event[0]}: {event[1]} was never sent")
        else:
            by_key[event[0]].append(event[1])
    verdicts = [_judge_key(key, told.get(key, frozenset()), numbers) for key, numbers in sorted(by_key.items())]
    whole = reduce(add, verdicts, Verdict())
    return whole + Verdict(upstream=len(strange), strange=len(strange), examples=tuple(strange[:MAX_EXAMPLES]))


def _judge_key(key: str, told: Set[int], numbers: list[int]) -> Verdict:
    seen: set[int] = set()
    wrong: list[str] = []
    duplicates = out_of_order = 0
    newest = -1
    for number in numbers:
        if number in seen:
            duplicates += 1
            wrong.append(f"{key}: {number} is held twice")
        elif number < newest:
            out_of_order += 1
            wrong.append(f"{key}: {number} comes behind {newest}")
        seen.add(number)
        newest = max(newest, number)
    lost = _lost(told - seen, seen)
    missing = _ranges(told - seen)
    if missing:
        wrong.append(f"{key}: {missing} lost; {_ranges(seen) or 'nothing'} held")
    return replace(
        lost,
        acknowledged=len(told),
        upstream=len(numbers),
        duplicate=duplicates,
        out_of_order=out_of_order,
        examples=tuple(wrong[:MAX_EXAMPLES]),
    )


def _lost(missing: Set[int], seen: Set[int]) -> Verdict:
    if not seen:
        return Verdict(lost_suffix=len(missing))
    first, last = min(seen), max(seen)
    prefix = sum(number < first for number in missing)
    suffix = sum(number > last for number in missing)
    return Verdict(lost_prefix=prefix, lost_middle=len(missing) - prefix - suffix, lost_suffix=suffix)


def _ranges(numbers: Set[int]) -> str:
    """`3-7, 9`, the first few of them."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    texts = [f"{low}" if low == high else f"{low}-{high}" for low, high in ranges[:5]]
    return ", ".join(texts) + (f" and {len(ranges) - 5} more ranges" if len(ranges) > 5 else "")
