"""What is stored of a device against its journal."""

from __future__ import annotations

from collections.abc import Sequence

from tests.drivers.judging import Sent, Verdict, judge
from tests.drivers.listener_campaign.habits import HABITS, payload
from tests.drivers.listener_campaign.journal import NEW, PRESENT, Journal


def judge_device(name: str, journal: Journal, stored: Sequence[bytes]) -> Verdict:
    """What had its answer is owed. Of a device without a session only the first of each reading counts."""
    messages = [Sent(payload(name, number), number in journal.answered) for number in journal.sent]
    return judge(messages, list(dict.fromkeys(stored)) if HABITS[name].clean else stored)


def session_problems(name: str, journal: Journal) -> list[str]:
    """Whether it found the session that it should have."""
    found, made = journal.connections[PRESENT], journal.connections[NEW]
    if HABITS[name].clean:
        return [f"{name}: found a session {found} times, and wanted none"] if found else []
    return [f"{name}: its session was gone: made {made} times"] if made > 1 else []
