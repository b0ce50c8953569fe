"""From what clients sent to deliveries, and from durable deliveries to answers; sessions change in between, in order.

Everything that changes a session comes through here in the order in which it happened: messages, PUBRELs, a connection's
end, and its begin, which comes last in a delivery. So what a delivery carries of sessions is what its data makes of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, MutableMapping

from drivers.contract import MAX_DELIVERY_BYTES, MAX_DELIVERY_EVENTS, Delivery
from drivers.listener.client import Client
from drivers.listener.packets import V5, Reason
from drivers.listener.run import Items, Run
from drivers.listener.session import SessionError
from drivers.listener.sessions import CLIENTS_PER_LOOK, Sessions
from storage.model import Append, Frame

GATHERED_BYTES = 1 << 20
"""So much that came in is handed over though an earlier delivery is still on its way to the disk."""

Accept = tuple[Client, bool]
"""A client, and whether there was a session of it."""


class Answers:
    """Who is to be answered for what, once a delivery is on disk."""

    __slots__ = ("accepts", "items", "size_bytes")

    def __init__(self) -> None:
        self.items: list[tuple[Client, Items]] = []
        self.accepts: list[Accept] = []
        self.size_bytes = 0


class Intake:
    """Used from one thread. `refuse_client` is called for one that can't go on, with a reason code and a text; `takes` says
    whether a stream may be appended to."""

    def __init__(
        self,
        sessions: Sessions,
        counters: MutableMapping[str, int],
        boot_ns: Callable[[], int],
        refuse_client: Callable[[Client, Reason, str], None],
        takes: Callable[[str], bool],
    ) -> None:
        self._sessions = sessions
        self._counters = counters
        self._boot_ns = boot_ns
        self._refuse_client = refuse_client
        self._takes = takes
        self._received: deque[tuple[Client, Items, int]] = deque()
        self._asking: dict[Client, None] = {}
        self._under_way: deque[Answers] = deque()
        self._under_way_bytes = 0
        self.waiting_bytes = 0
        """What was received and is not durable."""

    # From clients

    def ask(self, client: Client) -> None:
        """It is to be let in."""
        self._asking[client] = None

    def take(self, client: Client, items: Items) -> None:
        """It has sent something for the store."""
        taken_bytes = items[0].size_bytes if len(items) == 1 else sum([item.size_bytes for item in items])
        self._received.append((client, items, taken_bytes))
        self.waiting_bytes += taken_bytes

    def leave(self, client: Client) -> None:
        """Its connection is over."""
        if client in self._asking:
            del self._asking[client]
        else:
            self._received.append((client, [], -1))

    # To the store

    @property
    def gathers(self) -> bool:
        """A delivery is on its way to the disk, and what comes in waits for the next: fewer and larger ones cost less."""
        return bool(self._under_way) and self.waiting_bytes - self._under_way_bytes < GATHERED_BYTES

    @property
    def ready(self) -> bool:
        """There is something to hand over."""
        return bool(self._received or self._asking) and not self.gathers

    def delivery(self) -> tuple[Delivery | None, Answers | None]:
        """What was received, as far as one delivery takes it; or answers that need no store and wait for nothing."""
        frames: dict[str, list[Frame]] = {}
        answers = Answers()
        now_ns = self._boot_ns()
        events = 0
        received = self._received
        while received and events < MAX_DELIVERY_EVENTS // 2 and answers.size_bytes < MAX_DELIVERY_BYTES // 2:
            client, items, taken_bytes = received.popleft()
            if taken_bytes < 0:
                self._part(client, now_ns)
                continue
            answers.items.append((client, items))
            answers.size_bytes += taken_bytes
            for item in items:
                if isinstance(item, Run):
                    events += self._put(client, item, now_ns, frames)
                elif client.session is not None:
                    item.unknown = client.session.released(item.packet_ids)
            if len(answers.items) % CLIENTS_PER_LOOK == 0 and self._sessions.full:
                break
        if not received:
            self._let_in(answers)
        parts = self._sessions.parts()
        if not frames and not parts:
            return None, self._in_turn(answers)
        self._under_way.append(answers)
        self._under_way_bytes += answers.size_bytes
        appends = [Append(stream, of_stream) for stream, of_stream in frames.items()]
        delivery = Delivery(appends, None, answers, parts)
        self._counters["good"] += delivery.events
        self._counters["bytes"] += delivery.size_bytes
        return delivery, None

    def refused(self, streams: Collection[str]) -> None:
        """What is under way for these streams is not on disk, and is answered so when it would be acknowledged.

        What is under way behind it too: it may be the same message, sent again.
        """
        for answers in self._under_way:
            for client, items in answers.items:
                for item in items:
                    if isinstance(item, Run) and not item.refusal and item.label.stream in streams:
                        if client.session is not None and item.qos:
                            client.session.forget(item)
                        self._refuse(client, item, f"what it sent for stream {item.label.stream} was not stored")

    def durable(self, delivery: Delivery) -> Answers | None:
        """The oldest delivery that is under way is on disk: what is to be answered. None: it is not this one."""
        if not self._under_way or self._under_way[0] is not delivery.token:
            return None
        answers = self._under_way.popleft()
        self._under_way_bytes -= answers.size_bytes
        return answers

    def _put(self, client: Client, run: Run, now_ns: int, frames: dict[str, list[Frame]]) -> int:
        """Put what is new of a run into its stream's frames. How much that was."""
        payloads = run.payloads
        run.answered = run.packet_ids
        stream = run.label.stream
        if not run.refusal and stream not in frames and not self._takes(stream):
            self._refuse(client, run, f"stream {stream} takes nothing: it is sealed or a mirror")
        if run.refusal:
            self._counters["refused"] += len(payloads)
            return 0
        session = client.session
        if session is not None and run.qos == 1 and not run.dup:
            run.upto = session.received_new(run)
        elif session is not None and run.qos:
            try:
                taken = session.received(run)
            except SessionError as error:
                run.answered = ()
                self._refuse_client(client, Reason.QUOTA_EXCEEDED, str(error))
                return 0
            run.answered, run.upto = taken.answered, taken.upto
            if taken.stored is not None:
                self._counters["duplicates"] += taken.duplicates
                self._counters["repeats"] += taken.repeats
                payloads = [payloads[index] for index in taken.stored]
                if not payloads:
                    return 0
        label = run.label
        frame = Frame(
            payloads,
            label.key,
            label.content_type,
            label.retained_headers if run.retain else label.headers,
            now_ns,
        )
        of_stream = frames.get(stream)
        if of_stream is None:
            frames[stream] = [frame]
        else:
            of_stream.append(frame)
        return len(payloads)

    def _refuse(self, client: Client, run: Run, what: str) -> None:
        """None of it is stored. MQTT 5 has a reason code for it, 3.1.1 only the end of the connection (3.3.5)."""
        run.refusal = Reason.NOT_AUTHORIZED
        if run.qos and client.asked.version != V5:
            run.answered = ()
            self._refuse_client(client, Reason.NOT_AUTHORIZED, what)

    def _let_in(self, answers: Answers) -> None:
        asking, self._asking = self._asking, {}
        for client in asking:
            asked = client.asked
            try:
                session, present = self._sessions.connect(
                    asked.client_id, clean_start=asked.clean, expiry_s=asked.session_expiry_s
                )
            except SessionError as error:
                self._refuse_client(client, Reason.QUOTA_EXCEEDED, str(error))
                continue
            client.session = session
            answers.accepts.append((client, present))

    def _part(self, client: Client, now_ns: int) -> None:
        if client.session is not None:
            self._sessions.disconnect(client.session, now_ns / 1e9, client.expiry_s)

    def _in_turn(self, answers: Answers) -> Answers | None:
        """Nothing of it needs the store: it is answered behind what is under way, or now where nothing is."""
        if not self._under_way:
            return answers
        newest = self._under_way[-1]
        newest.items += answers.items
        newest.accepts += answers.accepts
        newest.size_bytes += answers.size_bytes
        self._under_way_bytes += answers.size_bytes
        return None
