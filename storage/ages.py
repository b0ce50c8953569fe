"""Ages that no clock jump can stretch: how long ago something was written at least, as far as that can be proved.

    ages = Ages(catalog.timelines, store, boot, now_ns)
    ages.age_ns(header.store, header.boot, header.appended_ns)        # at least so long ago
    ages.older_than(header.store, header.boot, header.appended_ns, limit_ns)

What proves that time passed:

1. Within a boot: its clock, which never steps.
2. From one boot to a later one of the same store: the spans in which the boots between them are known to have run.
3. From a boot whose wall clock was trusted to a later one whose clock was: the difference of the two, time without power
   included. Where a trusted clock stepped within a boot, one of its readings was wrong: the one is taken that makes
   things younger.

The longest chain of these is the age. So a jump of a clock that is not trusted proves nothing, and neither does a jump
of a trusted one within the boot that is running; and what can't be proved keeps data longer, never shorter. Of what is
mirrored from another machine, only 3 leads from its boots to ours.

An older entry is never younger than one behind it in the same segment, so that what is older than a limit can be bisected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from storage.boots import Boot, Timeline


class _After(NamedTuple):
    """What is proved to have passed from the end of a boot: in all, and until now by wall time of later boots."""

    passed_ns: int
    wall_ns: int | None


class Ages:
    """Ages by one reading of the clock: `now_ns` of the boot that is running on the machine of `store`."""

    def __init__(self, timelines: Mapping[UUID, Timeline], store: UUID, boot: UUID, now_ns: int) -> None:
        self._timelines = dict(timelines)
        self._store = store
        self._boot = boot
        self._now_ns = now_ns
        self._after: dict[UUID, dict[UUID, _After]] = {}

    def seen(self, store: UUID, boot: UUID, written_ns: int) -> None:
        """An entry proves that its boot ran until then: of what is mirrored, boots that run are told of too late for that."""
        timeline = self._timelines.get(store)
        known = None if timeline is None else timeline.by_id.get(boot)
        if timeline is not None and known is not None and known.last_ns < written_ns:
            self._timelines[store] = timeline.with_boots([replace(known, last_ns=written_ns)])
            self._after.pop(store, None)

    def age_ns(self, store: UUID, boot: UUID, written_ns: int) -> int:
        """At least how long ago it was `written_ns` by the clock of that boot. 0 for a boot that nobody told of."""
        running = store == self._store and boot == self._boot
        if running:
            return max(0, self._now_ns - written_ns)
        timeline = self._timelines.get(store)
        known = None if timeline is None else timeline.by_id.get(boot)
        if timeline is None or known is None:
            return 0
        if store not in self._after:
            self._after[store] = self._measure(store, timeline)
        after = self._after[store][boot]
        age = after.passed_ns + max(0, known.last_ns - written_ns)
        if after.wall_ns is not None and known.proved is not None:
            age = max(age, after.wall_ns - known.proved[1] - written_ns)
        return age

    def older_than(self, store: UUID, boot: UUID, written_ns: int, limit_ns: int) -> bool:
        """Whether it was provably written `limit_ns` ago or earlier."""
        return self.age_ns(store, boot, written_ns) >= limit_ns

    def _measure(self, store: UUID, timeline: Timeline) -> dict[UUID, _After]:
        """From the newest boot back: the longest proof from the end of each until now."""
        ours = self._timelines.get(self._store, Timeline())
        running = ours.by_id.get(self._boot)
        passed, wall = 0, None
        if running is not None and running.proved is not None:
            wall = running.proved[0] + self._now_ns
        if store == self._store:
            passed = 0 if running is None else self._now_ns - running.first_ns
        measured: dict[UUID, _After] = {}
        for boot in reversed(timeline.boots):
            if store == self._store and boot.id == self._boot:
                continue
            measured[boot.id] = _After(passed, wall)
            passed = _through(boot, passed, wall)
            if boot.proved is not None:
                implied = boot.proved[0] + boot.first_ns + passed
                wall = implied if wall is None else max(wall, implied)
        return measured


def _through(boot: Boot, passed_ns: int, wall_ns: int | None) -> int:
    """What is proved to have passed since the beginning of `boot`, given what is proved from its end on."""
    if wall_ns is not None and boot.proved is not None:
        passed_ns = max(passed_ns, wall_ns - boot.proved[1] - boot.last_ns)
    return boot.last_ns - boot.first_ns + passed_ns
