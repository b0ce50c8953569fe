"""The queue: what producers have submitted, until a commit takes it. Any thread puts in, the committer takes out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storage.group import Group
from storage.joining import Joined
from storage.ticket import Ticket

QUEUE_BYTES = 64 << 20
QUEUE_APPENDS = 100_000

Take = Callable[[Group, Ticket], None]
"""Puts one submission into a group, or raises what its ticket is to raise."""


@dataclass(slots=True)
class Submission:
    """`size_bytes` is what it holds in the queue, `brings_bytes` what it makes readable, never less."""

    ticket: Ticket
    take: Take
    size_bytes: int
    brings_bytes: int
    appends: int = 1


class Queue:
    """Submissions in their order, those that give space back before all others. `changed` is its lock."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.appends = 0
        self._waiting: deque[Submission] = deque()
        self._urgent: deque[Submission] = deque()
        self._bytes = 0

    @property
    def urgent(self) -> bool:
        return bool(self._urgent)

    @property
    def empty(self) -> bool:
        return not self._waiting and not self._urgent

    def add(self, submission: Submission) -> bool:
        """False, with nothing taken, where it is full. One submission has room whatever its size."""
        with self.changed:
            if self._waiting and self._is_full(submission.size_bytes):
                return False
            self._waiting.append(submission)
            self._count(submission, 1)
            self.changed.notify()
            return True

    def add_urgent(self, submission: Submission) -> None:
        with self.changed:
            self._urgent.append(submission)
            self.changed.notify()

    def join(self, joined: Joined, payload: bytes) -> bool:
        """Let one more event join the newest submission, if that is `joined` and there is room."""
        with self.changed:
            if not self._waiting:
                return False
            newest = self._waiting[-1]
            if newest.ticket is not joined or self._is_full(len(payload)):
                return False
            joined.add(payload)
            newest.size_bytes += len(payload)
            newest.brings_bytes += len(payload)
            newest.appends += 1
            self._bytes += len(payload)
            self.appends += 1
            return True

    def next(self, most_bytes: int) -> tuple[bool, list[Submission]]:
        """What goes into one commit: an urgent one by itself, or the oldest up to `most_bytes`, at least one."""
        taken: list[Submission] = []
        with self.changed:
            if self._urgent:
                return True, [self._urgent.popleft()]
            size_bytes = 0
            while self._waiting and (not taken or size_bytes + self._waiting[0].brings_bytes <= most_bytes):
                submission = self._waiting.popleft()
                self._count(submission, -1)
                size_bytes += submission.brings_bytes
                taken.append(submission)
        return False, taken

    def put_back(self, submissions: Sequence[Submission]) -> None:
        """To the head, in their order."""
        with self.changed:
            self._waiting.extendleft(reversed(submissions))
            for submission in submissions:
                self._count(submission, 1)

    def clear(self) -> list[Submission]:
        """All that waited; whoever waits for something to do is woken."""
        with self.changed:
            waiting = [*self._urgent, *self._waiting]
            self._urgent.clear()
            self._waiting.clear()
            self._bytes = self.appends = 0
            self.changed.notify_all()
        return waiting

    def _count(self, submission: Submission, sign: int) -> None:
        self._bytes += sign * submission.size_bytes
        self.appends += sign * submission.appends

    def _is_full(self, size_bytes: int) -> bool:
        return self._bytes + size_bytes > QUEUE_BYTES or self.appends >= QUEUE_APPENDS
