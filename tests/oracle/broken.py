"""`python -m tests.oracle.broken WHICH EDGE-ARGUMENTS`: `edge` with one promise broken, which the oracle must notice.

duplicates      writers' numbers are ignored
early           acknowledged 0.7 s before it is handed to the committer
halves          of a unit only the first half is applied, and all of it is taken for held
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from edge.cli import main as edge_main
from storage.group import Group, _Plan
from storage.mirror import taking
from storage.mirror.unit import Part, Unit
from storage.model import Append, Frame, Receipt
from storage.records import StreamRecord
from storage.store import SegmentStore
from storage.ticket import Ticket

EARLY_S = 0.7


def break_deduplication() -> None:
    def fresh(self: Group, stream: StreamRecord, frame: Frame, writer: str, plan: _Plan) -> Frame | None:
        plan.writers[stream.number, writer] = (frame.number or 0) + len(frame.payloads) - 1
        return frame

    Group._fresh = fresh  # type: ignore[method-assign]


def break_acknowledgement() -> None:
    late: deque[tuple[float, SegmentStore, Sequence[Append], Mapping[str, bytes] | None]] = deque()
    submit = SegmentStore.submit

    def submit_late() -> None:
        while True:
            time.sleep(0.01)
            while late and time.monotonic() - late[0][0] >= EARLY_S:
                _, store, appends, cursors = late.popleft()
                submit(store, appends, cursors)

    def acknowledge_early(
        self: SegmentStore,
        appends: Sequence[Append],
        cursors: Mapping[str, bytes] | None = None,
        *,
        whole: bool = True,
    ) -> Ticket:
        for append in appends:
            self.stream(append.stream)
        late.append((time.monotonic(), self, appends, cursors))
        ticket = Ticket(self._committer)
        ticket.resolve(Receipt(0, (None,) * len(appends), 0, 0))
        return ticket

    SegmentStore.submit = acknowledge_early  # type: ignore[method-assign, assignment]
    threading.Thread(target=submit_late, daemon=True).start()


def break_units() -> None:
    take_unit = taking.take_unit

    def half(part: Part) -> Part:
        return replace(part, entries=part.entries[: (len(part.entries) + 1) // 2])

    def take_half(group: Group, ticket: Ticket, unit: Unit) -> None:
        take_unit(group, ticket, replace(unit, parts=tuple(map(half, unit.parts))))

    def continues(group: Group, unit: Unit, part: Part) -> bool:
        stream = group.stream(f"{unit.node}/{part.stream}")
        return stream is None or part.through > group.catalog.throughs.get(stream.number, 0)

    taking.take_unit = take_half
    taking._continues = continues


BREAKS: dict[str, Callable[[], None]] = {
    "duplicates": break_deduplication,
    "early": break_acknowledgement,
    "halves": break_units,
}

if __name__ == "__main__":
    BREAKS[sys.argv[1]]()
    sys.exit(edge_main(sys.argv[2:]))
