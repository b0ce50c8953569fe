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
from collections.abc import Callable

from drivers.contract import Delivery
from drivers.listener.driver import ListenerDriver
from drivers.listener.intake import Answers
from drivers.listener.session import Run, Session, Taken
from drivers.listener.sessions import Sessions
from tests.oracle.node import main

EARLY_S = 0.5


def answer_early() -> None:
    poll = ListenerDriver.poll
    late: deque[tuple[float, Delivery]] = deque()

    def answered_at_once(driver: ListenerDriver, timeout_s: float) -> Delivery | None:
        delivery = poll(driver, min(timeout_s, EARLY_S / 10))
        if delivery is not None:
            assert isinstance(delivery.token, Answers)
            early = Answers()
            early.items, delivery.token.items = delivery.token.items, []
            early.accepts, delivery.token.accepts = delivery.token.accepts, []
            driver._answer(early)
            late.append((time.monotonic(), delivery))
        if late and time.monotonic() - late[0][0] > EARLY_S:
            return late.popleft()[1]
        return None

    ListenerDriver.poll = answered_at_once  # type: ignore[method-assign, assignment]


def forget_sessions() -> None:
    Sessions.parts = lambda sessions: {}  # type: ignore[method-assign, assignment]


def suspect_equals() -> None:
    received = Session.received

    def suspicious(session: Session, run: Run) -> Taken:
        before = session._digests[-1] if session._digests else None
        taken = received(session, run)
        if taken.stored is None and run.qos == 1 and session.persistent:
            digests = [before, *run.digests]
            new = [index for index in range(len(run.digests)) if digests[index] != digests[index + 1]]
            return taken._replace(stored=new)
        return taken

    Session.received = suspicious  # type: ignore[method-assign, assignment]


def release_later() -> None:
    released = Session.released

    def without_a_commit(session: Session, packet_ids: list[int]) -> list[int]:
        dirty = set(session._dirty)
        unknown = released(session, packet_ids)
        session._dirty.intersection_update(dirty)
        return unknown

    Session.released = without_a_commit  # type: ignore[method-assign, assignment]


BREAKS: dict[str, Callable[[], None]] = {
    "early": answer_early,
    "forgetful": forget_sessions,
    "suspicious": suspect_equals,
    "hasty": release_later,
}


if __name__ == "__main__":
    BREAKS[sys.argv.pop(1)]()
    sys.exit(main())
