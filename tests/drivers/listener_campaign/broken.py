"""`python -m tests.drivers.listener_campaign.broken WHICH ARGUMENTS-OF-THE-NODE`: a gateway with one promise broken.

early         answers leave half a second before the driver hands anything to the store
forgetful     no session is committed
suspicious    a message that equals the one before it is taken for a repetition, DUP or not
hasty         a PUBCOMP leaves at once, and that the packet id is free is committed with the next message
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

from drivers.contract import Delivery
from drivers.listener.client import Client
from drivers.listener.driver import ListenerDriver
from drivers.listener.intake import Answers, Intake
from drivers.listener.run import Run
from drivers.listener.session import Session
from drivers.listener.sessions import Sessions
from storage.model import Frame
from tests.oracle.node import main

EARLY_S = 0.5


def answer_early() -> None:
    poll = ListenerDriver.poll
    late: deque[tuple[float, Delivery]] = deque()

    def answered_at_once(self: ListenerDriver, timeout_s: float) -> Delivery | None:
        delivery = poll(self, min(timeout_s, EARLY_S / 10))
        if delivery is not None:
            assert isinstance(delivery.token, Answers)
            early = Answers()
            early.items, delivery.token.items = delivery.token.items, []
            early.accepts, delivery.token.accepts = delivery.token.accepts, []
            self._answer(early)
            late.append((time.monotonic(), delivery))
        if late and time.monotonic() - late[0][0] > EARLY_S:
            return late.popleft()[1]
        return None

    ListenerDriver.poll = answered_at_once  # type: ignore[method-assign]


def forget_sessions() -> None:
    Sessions.parts = lambda self: {}  # type: ignore[method-assign]


def suspect_equals() -> None:
    put = Intake._put

    def suspicious(self: Intake, client: Client, run: Run, now_ns: int, frames: dict[str, list[Frame]]) -> int:
        session = client.session
        before = session._digests[-1] if session is not None and session._digests else None
        count = put(self, client, run, now_ns, frames)
        if not count or session is None or run.qos != 1 or run.dup or not session.persistent:
            return count
        digests = [before, *run.digests]
        *others, frame = frames.pop(run.label.stream)
        new = [payload for at, payload in enumerate(frame.payloads) if digests[at] != digests[at + 1]]
        kept = [*others, frame._replace(payloads=new)] if new else others
        if kept:
            frames[run.label.stream] = kept
        return len(new)

    Intake._put = suspicious  # type: ignore[method-assign]


def release_later() -> None:
    released = Session.released

    def without_a_commit(self: Session, packet_ids: Sequence[int]) -> list[int]:
        dirty = set(self._dirty)
        unknown = released(self, packet_ids)
        self._dirty.intersection_update(dirty)
        return unknown

    Session.released = without_a_commit  # type: ignore[method-assign]


BREAKS: dict[str, Callable[[], None]] = {
    "early": answer_early,
    "forgetful": forget_sessions,
    "suspicious": suspect_equals,
    "hasty": release_later,
}


if __name__ == "__main__":
    BREAKS[sys.argv.pop(1)]()
    sys.exit(main())
