"""What a store of streams promises, as small as it can be said: no bytes, no blocks, no files, no time.

A *stream* is events under routing keys. Its key space is shared out among its open *segments*; an event is appended to
the one that its key falls into, behind all that is there, and never moves. A *scale* seals some segments and opens
others for the very same keys; *sealing* a stream opens none. A sealed segment never grows.

What is appended in one *submission* becomes durable as a whole or not at all, in one *commit*; commits are in order.
The *order of a stream* is by commit, within a commit by segment, within a segment by place: so that of each key. A
reader stands somewhere in every segment (`Places`), and is handed what stands behind that, in that order.

A *transaction* is of the segments that were open when it began. What is put into it nobody sees; its commit appends all of
it, contiguous in each segment, at once. Where some of these segments are no longer open, the commit opens others like them
for it alone, behind all that is there, and again such as there were. It is open until it is committed or aborted, for ever.

*Giving up* moves a segment's start, to the first event of a commit and never into one. Places do not shift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import UUID

from storage.errors import (
    ConditionFailedError,
    StorageError,
    StreamSealedError,
    TransactionEndedError,
    UnknownTransactionError,
    WriterNumberGapError,
)
from storage.model import KeyRange, TransactionState, key_point
from tests.storage.model.submissions import (
    Abort,
    Append,
    Appends,
    Begin,
    Commit,
    Create,
    Place,
    Places,
    Put,
    Said,
    Scale,
    Seal,
    Submission,
    Truncate,
)

OPEN, COMMITTED, ABORTED = TransactionState.OPEN, TransactionState.COMMITTED, TransactionState.ABORTED


@dataclass
class Segment:
    number: int
    epoch: int
    keys: KeyRange
    opened: int
    """The commit that opened it."""
    until: int | None = None
    """The epoch in which it was sealed."""
    said: list[Said] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    """Of each event, the commit that made it visible."""
    start: int = 0
    """Events before it were given up."""

    def first_of_commit(self, index: int) -> int:
        """The first event of the commit that event `index` is of; the end is one as well."""
        if index >= len(self.said):
            return len(self.said)
        return self.commits.index(self.commits[index])


@dataclass
class Stream:
    segments: list[Segment]
    numbers: dict[str, int] = field(default_factory=dict)
    """The last number of each writer: they count per stream, across its segments."""

    @property
    def epoch(self) -> int:
        return max(max(each.epoch, each.until or 0) for each in self.segments)

    @property
    def open(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.until is None]

    def segment_of(self, key: str) -> Segment:
        """The segment that takes a key now."""
        for segment in self.open:
            if key_point(key) in segment.keys:
                return segment
        raise StreamSealedError("takes nothing more")

    # reading

    def history(self, places: Places, stop: Places | None = None) -> list[Place]:
        """All that was ever said behind `places` and before `stop`, given up or not, in the order of the stream."""
        found = [
            (commit, Place(segment.number, index))
            for segment in self.segments
            for index, commit in enumerate(segment.commits)
            if places.get(segment.number, 0) <= index and (stop is None or index < stop.get(segment.number, 0))
        ]
        return [place for _, place in sorted(found)]

    def live(self, places: Places, stop: Places | None = None) -> list[Place]:
        """What a reader from `places` up to `stop` is handed: of that, what was not given up."""
        return [place for place in self.history(places, stop) if place.ordinal >= self.segments[place.segment].start]

    def head(self) -> Places:
        return {segment.number: segment.start for segment in self.segments}

    def tail(self) -> Places:
        return {segment.number: len(segment.said) for segment in self.segments}

    def since(self, time_ns: int) -> Places:
        """In each segment from the first event that was said then."""
        return {
            segment.number: next(
                (i for i, said in enumerate(segment.said) if i >= segment.start and said.time_ns >= time_ns),
                len(segment.said),
            )
            for segment in self.segments
        }

    def behind(self, commit: int, number: int) -> Places:
        """In each segment behind what stands up to segment `number` of a commit, in the order of the stream.

        Of a segment opened later nothing; of one whose head was given up, what is left of it behind that.
        """
        return {
            segment.number: 0
            if (segment.opened, segment.number) > (commit, number)
            else max(segment.start, sum((made, segment.number) <= (commit, number) for made in segment.commits))
            for segment in self.segments
        }

    def at(self, place: Place) -> Places:
        """Where a position says that its reader stands: it was handed what stands before it in its segment, and so
        all that stands before that in the order of the stream.

        At the start of a segment whose head was given up nobody knows any more what was handed out of the others.
        """
        segment, before = self.segments[place.segment], place.ordinal - 1
        if before < segment.start and segment.start:
            places = self.head()
        elif before >= 0:
            places = self.behind(segment.commits[before], segment.number)
        else:
            commit = segment.commits[0] if segment.said else segment.opened
            places = self.behind(commit, segment.number - 1)
        return {**places, place.segment: place.ordinal}

    # giving up

    def give_up(self, places: Places) -> int:
        """Give up what stands before `places`, but nothing of a commit that has something behind them. How many."""
        before = sum(segment.start for segment in self.segments)
        for segment in self.segments:
            if (index := places.get(segment.number, 0)) > segment.start:
                segment.start = max(segment.start, segment.first_of_commit(index))
        return sum(segment.start for segment in self.segments) - before


class Done(NamedTuple):
    """What a submission came to: of each append where its first stored event stands, None where all of it was there."""

    first: tuple[Place | None, ...] = ()
    stored: int = 0
    duplicates: int = 0


@dataclass
class Transaction:
    then: Mapping[str, Sequence[int]]
    """Of each of its streams, the segments that were open when it began."""
    state: TransactionState = OPEN
    said: list[tuple[str, int, Said]] = field(default_factory=list)
    """What is in it: of which stream, for which segment of those."""
    numbers: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """The first and last number that it has of each stream's writers."""
    refused: StorageError | None = None
    """What refused something that was put into it. Nobody knows of it any more when the store was reopened."""


@dataclass
class Model:
    """All that is durable of a store."""

    streams: dict[str, Stream] = field(default_factory=dict)
    cursors: dict[str, bytes] = field(default_factory=dict)
    transactions: dict[UUID, Transaction] = field(default_factory=dict)

    def copy(self) -> Model:
        streams = {
            name: Stream(
                [replace(each, said=list(each.said), commits=list(each.commits)) for each in stream.segments],
                dict(stream.numbers),
            )
            for name, stream in self.streams.items()
        }
        transactions = {
            key: replace(each, said=list(each.said), numbers=dict(each.numbers))
            for key, each in self.transactions.items()
        }
        return Model(streams, dict(self.cursors), transactions)

    def take(self, submission: Submission, commit: int) -> Done:
        """Take a submission whole. Raises, with nothing taken, why it is refused."""
        after = self.copy()
        try:
            done = after._take(submission, commit)
        except StorageError as error:
            if isinstance(submission, Put) and submission.transaction in self.transactions:
                transaction = self.transactions[submission.transaction]
                transaction.refused = transaction.refused or error
            raise
        self.streams, self.cursors, self.transactions = after.streams, after.cursors, after.transactions
        return done

    def _take(self, submission: Submission, commit: int) -> Done:
        match submission:
            case Create(name):
                self.streams.setdefault(name, Stream([Segment(0, 0, KeyRange(), commit)]))
            case Scale(name, sealed, ranges):
                self._scale(self.streams[name], sealed, ranges, commit)
            case Seal(name):
                stream = self.streams[name]
                if stream.open:
                    self._scale(stream, [segment.number for segment in stream.open], [], commit)
            case Truncate(name, places):
                self.streams[name].give_up(places)
            case Appends(appends, cursors):
                done = [self._append(append, commit) for append in appends]
                self._move(cursors)
                firsts = tuple(first for each in done for first in each.first)
                return Done(firsts, sum(each.stored for each in done), sum(each.duplicates for each in done))
            case Begin(key, names):
                if not all(self.streams[name].open for name in names):
                    raise StreamSealedError("takes nothing more")
                then = {name: [segment.number for segment in self.streams[name].open] for name in names}
                self.transactions[key] = Transaction(then)
            case Put(key, appends):
                return self._put(self._transaction(key, OPEN), appends)
            case Commit(key, cursors):
                transaction = self._transaction(key, OPEN, COMMITTED)
                if transaction.state is OPEN:
                    return self._commit(transaction, cursors, commit)
            case Abort(key):
                self._transaction(key, OPEN, ABORTED).state = ABORTED
        return Done()

    def _transaction(self, key: UUID, *states: TransactionState) -> Transaction:
        if key not in self.transactions:
            raise UnknownTransactionError("begin one")
        if self.transactions[key].state not in states:
            raise TransactionEndedError("begin another")
        return self.transactions[key]

    @staticmethod
    def _scale(stream: Stream, sealed: Sequence[int], ranges: Sequence[KeyRange], commit: int) -> None:
        """Seal some segments, and open others for the same keys in the next epoch."""
        epoch = stream.epoch + 1
        for number in sealed:
            if stream.segments[number].until is not None:
                raise ConditionFailedError("not all of the segments to seal are open")
            stream.segments[number].until = epoch
        for keys in ranges:
            stream.segments.append(Segment(len(stream.segments), epoch, keys, commit))

    def _append(self, append: Append, commit: int) -> Done:
        stream = self.streams[append.stream]
        if append.expected is not None and len(stream.segment_of(append.said[0].key).said) != append.expected:
            raise ConditionFailedError("has another length")
        first: Place | None = None
        stored = 0
        for said in append.said:
            if said.writer is not None and said.number is not None:
                last = stream.numbers.get(said.writer)
                if last is not None and said.number > last + 1:
                    raise WriterNumberGapError("is missing")
                if last is not None and said.number <= last:
                    continue
                stream.numbers[said.writer] = said.number
            segment = stream.segment_of(said.key)
            first = first or Place(segment.number, len(segment.said))
            segment.said.append(said)
            segment.commits.append(commit)
            stored += 1
        return Done((first,), stored, len(append.said) - stored)

    def _put(self, transaction: Transaction, appends: Sequence[Append]) -> Done:
        stored = count = 0
        for name, said in ((append.stream, said) for append in appends for said in append.said):
            count += 1
            if said.writer is not None and said.number is not None:
                first, last = transaction.numbers.get((name, said.writer), (None, None))
                last = self.streams[name].numbers.get(said.writer) if last is None else last
                if last is not None and said.number > last + 1:
                    raise WriterNumberGapError("is missing")
                if last is not None and said.number <= last:
                    continue
                transaction.numbers[name, said.writer] = (said.number if first is None else first, said.number)
            segments = (self.streams[name].segments[number] for number in transaction.then[name])
            number = next(segment.number for segment in segments if key_point(said.key) in segment.keys)
            transaction.said.append((name, number, said))
            stored += 1
        return Done((None,) * len(appends), stored, count - stored)

    def _move(self, cursors: Mapping[str, bytes]) -> None:
        """An empty cursor is none."""
        moved = {**self.cursors, **cursors}
        self.cursors = {name: state for name, state in moved.items() if state}

    def _commit(self, transaction: Transaction, cursors: Mapping[str, bytes], commit: int) -> Done:
        """All of it, unless the writers' numbers say that all of it is there."""
        if transaction.refused is not None:
            raise transaction.refused
        repeated = 0
        for (name, writer), (first, last) in transaction.numbers.items():
            known = self.streams[name].numbers.get(writer, -1)
            repeated += max(0, min(known, last) - first + 1)
        count = len(transaction.said)
        if 0 < repeated < count:
            raise TransactionEndedError("abort it")
        transaction.state = COMMITTED
        self._move(cursors)
        if repeated:
            return Done((None,) * len(transaction.then), 0, count)
        for (name, writer), (first, last) in transaction.numbers.items():
            if first > self.streams[name].numbers.get(writer, first) + 1:
                raise WriterNumberGapError("is missing")
            self.streams[name].numbers[writer] = last
        places = [self._place(transaction, name, commit) for name in transaction.then]
        return Done(tuple(places), count)

    def _place(self, transaction: Transaction, name: str, commit: int) -> Place | None:
        """Append what it has of one stream. Where the first of it stands."""
        stream, then = self.streams[name], transaction.then[name]
        filled = sorted({number for of, number, _ in transaction.said if of == name})
        if not filled:
            return None
        if not stream.open:
            raise StreamSealedError("takes nothing more")
        into = {number: stream.segments[number] for number in filled}
        now = stream.open
        rolls = any(segment.until is not None for segment in into.values())
        if rolls:
            copies = [stream.segments[number].keys for number in then]
            self._scale(stream, [segment.number for segment in now], copies, commit)
            into = dict(zip(then, stream.open, strict=True))
        first = Place(into[filled[0]].number, len(into[filled[0]].said))
        for of, number, said in transaction.said:
            if of == name:
                into[number].said.append(said)
                into[number].commits.append(commit)
        if rolls:
            self._scale(stream, [segment.number for segment in stream.open], [each.keys for each in now], commit)
        return first
