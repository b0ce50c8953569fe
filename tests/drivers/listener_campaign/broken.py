"""`python -m tests.drivers.listener_campaign.broken WHICH ARGUMENTS-OF-THE-NODE`: a gateway with one promise broken.

early         answers leave before the commit
forgetful     no session is committed
suspicious    a message that equals one that is remembered under its packet id is taken for a repetition, DUP or not
hasty         a PUBCOMP leaves at once, and that the packet id is free is committed with the next message
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from drivers.contract import Delivery
from drivers.listener.intake import Answers, Intake
from drivers.listener.session import Run, Session, Taken
from drivers.listener.sessions import Sessions
from tests.oracle.aim import module_command
from tests.oracle.node import main


def answer_early() -> None:
    make = Intake.delivery

    def answered_at_once(intake: Intake) -> tuple[Delivery | None, Answers | None]:
        delivery, answers = make(intake)
        if delivery is None or not isinstance(delivery.token, Answers):
            return delivery, answers
        early = Answers()
        early.items, delivery.token.items = delivery.token.items, []
        early.accepts, delivery.token.accepts = delivery.token.accepts, []
        return delivery, early

    Intake.delivery = answered_at_once  # type: ignore[method-assign, assignment]


def forget_sessions() -> None:
    Sessions.parts = lambda sessions: {}  # type: ignore[method-assign, assignment]


def suspect_equals() -> None:
    received = Session.received

    def suspicious(session: Session, run: Run) -> Taken:
        return session._sort_out(run) if session.persistent else received(session, run)

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


def broken_command(which: str, folder: Path) -> tuple[str, ...]:
    """In place of `tests.oracle.aim.node_command`."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = (which, "--hits", str(folder / "hits"), "--aim", str(folder / "aim"), "--")
    return module_command("tests.drivers.listener_campaign.broken", *arguments)


if __name__ == "__main__":
    BREAKS[sys.argv.pop(1)]()
    sys.exit(main())
