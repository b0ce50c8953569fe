"""What is stored against what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Sent(NamedTuple):
    """`owed`: it must be stored. What is not owed may be."""

    payload: bytes
    owed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """One topic of one source. `came`: what was sent; `owed`: what of it must be stored."""

    came: int
    owed: int
    stored: int
    lost: int
    duplicate: int
    out_of_order: bool
    example: str

    @property
    def clean(self) -> bool:
        return not self.lost and not self.duplicate and not self.out_of_order


def judge(messages: Sequence[Sent], stored: Sequence[bytes]) -> Verdict:
    """`stored` must be `messages` in their order, without some of those that are not owed."""
    all_of, owed = Counter(m.payload for m in messages), Counter(m.payload for m in messages if m.owed)
    held = Counter(stored)
    missing, surplus = owed - held, held - all_of
    stuck = _first_misfit(messages, stored)
    clean = not missing and not surplus
    example = "" if stuck is None else stuck
    if not clean:
        example = f"lost {_named(missing)}; duplicate {_named(surplus)}; {example}"
    return Verdict(
        len(messages), owed.total(), len(stored), missing.total(), surplus.total(), clean and stuck is not None, example
    )


def _first_misfit(messages: Sequence[Sent], stored: Sequence[bytes]) -> str | None:
    """Where no way is left of laying `stored` over `messages`; None where there is one."""
    places = {0}
    for number, message in enumerate(messages):
        taken = {place + 1 for place in places if place < len(stored) and stored[place] == message.payload}
        after = taken if message.owed else taken | places
        if not after:
            place = max(places)
            found = stored[place] if place < len(stored) else b"(nothing)"
            return f"{message.payload!r} (message {number}) is owed at place {place}, where {found!r} is"
        places = after
    if len(stored) in places:
        return None
    return f"place {max(places)} and after: {list(stored[max(places) : max(places) + 3])} is more than ever came"


def _named(payloads: Counter[bytes]) -> str:
    return (
        ", ".join(f"{payload.decode(errors='replace')} x {count}" for payload, count in payloads.most_common(3)) or "-"
    )
