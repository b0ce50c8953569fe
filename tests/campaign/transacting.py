"""Operations of transactions: begun on several streams, filled, left open over rounds, committed, aborted, expired."""

from __future__ import annotations

from uuid import UUID

from storage import Append, Ticket
from storage.errors import StorageError
from tests.campaign.events import TRANSACTION
from tests.campaign.journal import (
    Aborted,
    Aborting,
    Acknowledged,
    Began,
    Committing,
    Did,
    Expiring,
    Part,
    Put,
    PutRefused,
    Putting,
    Refused,
    Submitted,
)
from tests.campaign.scene import TRANSACTION_WRITER, UNDECIDED, Scene, frames_of

TOGETHER = (("flow", "film"), ("flow", "aged", "eaten"), ("film",), ("ring",), ("cam",), ("flow",))
"""Streams of one policy and priority: what may be in one transaction."""
MOST_OPEN = 6


def id_of(number: int) -> UUID:
    return UUID(int=number)


def transact(scene: Scene) -> None:
    """The next step of some transaction, or the first of a new one."""
    chance = scene.random.random()
    opened = scene.transactions
    if not opened or (chance < 0.2 and len(opened) < MOST_OPEN):
        _begin(scene)
    elif chance < 0.75:
        _put(scene, scene.random.choice(list(opened)))
    elif chance < 0.92:
        _commit(scene, scene.random.choice(list(opened)))
    elif chance < 0.97:
        _abort(scene, scene.random.choice(list(opened)))
    else:
        _expire(scene)


def transact_whole(scene: Scene) -> None:
    """One from its beginning to its end, with nothing in between."""
    number = _begin(scene)
    if number is not None:
        for _ in range(scene.random.randint(0, 4)):
            _put(scene, number)
        _commit(scene, number)


def _begin(scene: Scene) -> int | None:
    number = scene.next_id()
    streams = scene.random.choice(TOGETHER)
    lease_s = scene.random.choice([30.0, 3600.0, 80_000.0])
    scene.journal.say(Began(number, streams, lease_s))
    try:
        scene.store.begin_transaction(streams, lease_s=lease_s, transaction=id_of(number))
    except UNDECIDED:
        raise
    except StorageError:
        return None
    scene.transactions[number] = streams
    scene.journal.say(Did("begin a transaction"))
    return number


def _put(scene: Scene, number: int) -> None:
    """Append to a transaction: of a writer, or what nobody numbers."""
    id_ = scene.next_id()
    stream = scene.random.choice(scene.transactions[number])
    count = scene.random.choice([1, 2, 9])
    if scene.random.random() < 0.3 and scene.numbering.setdefault(stream, number) == number:
        part = scene.numbered(stream, TRANSACTION_WRITER, count)
    else:
        part = Part(stream, f"{TRANSACTION}{number}", id_ * 10, count)
    scene.journal.say(Putting(number, id_, part))
    try:
        ticket = scene.store.submit_to_transaction(id_of(number), [Append(stream, frames_of(part))])
    except UNDECIDED:
        raise
    except StorageError:
        scene.journal.say(PutRefused(number, id_))
        scene.forget_numbers(number)
        return
    ticket.on_done(lambda done: _told_of_put(scene, number, id_, done))


def _told_of_put(scene: Scene, number: int, id_: int, ticket: Ticket) -> None:
    error = ticket.error()
    if error is None:
        scene.journal.say(Put(number, id_))
        scene.journal.say(Did("append to a transaction"))
    elif not isinstance(error, UNDECIDED):
        scene.journal.say(PutRefused(number, id_))
        scene.forget_numbers(number)


def _commit(scene: Scene, number: int) -> None:
    """Commit, with a cursor and now and then a change of a table; ask again once in a while."""
    id_ = scene.next_id()
    value = b"%d" % id_
    change = scene.change("transactions", value) if scene.random.random() < 0.3 else None
    noted = None if change is None else (change.key, value, change.expected or 0)
    cursors = {"transactions": value}
    scene.journal.say(Submitted(id_, "commit a transaction", (), cursors, noted))
    scene.journal.say(Committing(number, id_))
    try:
        ticket = scene.store.commit_transaction(id_of(number), cursors, [] if change is None else [change])
    except UNDECIDED:
        raise
    except StorageError as error:
        _refused(scene, number, id_, error)
        return
    if change is not None:
        scene.versions[change.key] = (change.expected or 0) + 1
    scene.transactions.pop(number, None)
    ticket.on_done(lambda done: _told_of_commit(scene, number, id_, done))


def _told_of_commit(scene: Scene, number: int, id_: int, ticket: Ticket) -> None:
    error = ticket.error()
    if error is None:
        receipt = ticket.result()
        scene.journal.say(Acknowledged(id_, receipt.commit, receipt.positions, receipt.stored, receipt.duplicates))
        scene.forget_numbers(number)
        scene.ended.append(number)
    elif isinstance(error, StorageError) and not isinstance(error, UNDECIDED):
        _refused(scene, number, id_, error)


def _refused(scene: Scene, number: int, id_: int, error: StorageError) -> None:
    """A commit that was refused leaves the transaction open: it is aborted when it is its turn."""
    scene.journal.say(Refused(id_, f"{type(error).__name__} (commit)"))
    scene.journal.say(Committing(number, 0))
    scene.versions.clear()
    scene.forget_numbers(number)
    scene.doomed.append(number)


def ask_again(scene: Scene) -> None:
    """A commit of what was committed is acknowledged once more, and does nothing."""
    if scene.ended:
        number = scene.ended.pop()

        def told(done: Ticket) -> None:
            if isinstance(done.error(), StorageError) and not isinstance(done.error(), UNDECIDED):
                scene.failed.append(f"transaction {number} was committed; a second commit says {done.error()!r}")

        scene.store.commit_transaction(id_of(number)).on_done(told)
        scene.journal.say(Did("commit a transaction again"))


def abort_doomed(scene: Scene) -> None:
    """What could not be committed is aborted."""
    if scene.doomed:
        _abort(scene, scene.doomed.pop())


def _abort(scene: Scene, number: int) -> None:
    scene.transactions.pop(number, None)
    scene.journal.say(Aborting(number))
    scene.forget_numbers(number)
    try:
        ticket = scene.store.abort_transaction(id_of(number))
    except UNDECIDED:
        raise
    except StorageError as error:
        scene.journal.say(Did(f"refused: {type(error).__name__} (abort)"))
        return

    def told(done: Ticket) -> None:
        if done.error() is None:
            scene.journal.say(Aborted(number))
            scene.journal.say(Did("abort a transaction"))

    ticket.on_done(told)


def _expire(scene: Scene) -> None:
    """Those that nobody held within their lease are aborted; others are not."""
    scene.journal.say(Expiring())
    for transaction in scene.store.expire_transactions():
        scene.transactions.pop(transaction.int, None)
        scene.forget_numbers(transaction.int)
        scene.journal.say(Did("expire a transaction"))
