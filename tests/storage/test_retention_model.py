"""Random appends, policies, confirmations, truncations and power cuts under a limit, beside a list of what was sent."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from storage import FakeClock, RetentionPolicy, SegmentStore, StreamConfig, Ticket, committer
from storage.errors import StoreFullError
from storage.kv.memory import MemoryTwin

LIMIT = 120_000
HOUR_S = 3600.0

policies = st.builds(
    RetentionPolicy,
    st.sampled_from([None, None, 2.5 * HOUR_S]),
    st.sampled_from([None, None, 15_000]),
    st.booleans(),
)
configs = st.builds(
    StreamConfig,
    priority=st.integers(1, 3),
    when_full=st.sampled_from(["block", "drop-oldest", "thin"]),
    retention=policies,
)


class Keeping(RuleBasedStateMachine):
    """A gateway under a limit and a hub that gets some of its streams."""

    @initialize(made=st.lists(configs, min_size=1, max_size=3))
    def open(self, made: list[StreamConfig]) -> None:
        self.random = random.Random(len(made))
        self.clock = FakeClock()
        self.twin = MemoryTwin()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock, disk_limit=LIMIT)
        self.hub = SegmentStore.in_memory(clock=self.clock)
        self.configs = {f"s{index}": config for index, config in enumerate(made)}
        self.sent: dict[str, list[bytes]] = {}
        self.waiting: list[tuple[Ticket, str, bytes]] = []
        self.read: dict[str, int] = {}
        self.asked: set[str] = set()
        for name, config in self.configs.items():
            self.store.create_stream(name, config)
            self.sent[name] = []

    def settle(self) -> None:
        """Take note of what was acknowledged, in the order in which it was sent."""
        still = []
        for ticket, name, payload in self.waiting:
            if ticket.done():
                assert ticket.error() is None
                self.sent[name].append(payload)
            else:
                still.append((ticket, name, payload))
        self.waiting = still

    @property
    def names(self) -> list[str]:
        return list(self.configs)

    @rule(data=st.data(), count=st.integers(1, 40), size=st.sampled_from([20, 800, 3000]))
    def append(self, data: st.DataObject, count: int, size: int) -> None:
        name = data.draw(st.sampled_from(self.names))
        for _ in range(count):
            payload = self.random.randbytes(size)
            try:
                ticket = self.store.writer(name).append(payload)
            except StoreFullError:
                config = self.configs[name]
                assert config.when_full == "block"
                assert config.retention.max_bytes is not None
                break
            self.waiting.append((ticket, name, payload))
            self.store.commit()
            assert self.twin.used_bytes <= LIMIT
        self.settle()

    @rule(hours=st.sampled_from([0.4, 1.0, 5.0]), jump_s=st.sampled_from([0.0, -1e9, 1e9]))
    def time_passes(self, hours: float, jump_s: float) -> None:
        self.clock.advance(hours * HOUR_S)
        self.clock.step_wall(jump_s)

    @rule()
    def replicate(self) -> None:
        for _ in range(3):
            unit = self.store.next_unit("g", self.hub.holdings("g").streams, self.wanted, 10_000)
            if unit is None:
                return
            self.hub.submit_unit(unit).result()

    @staticmethod
    def wanted(name: str) -> bool:
        return name != "s2"

    @rule()
    def retain(self) -> None:
        held = self.hub.holdings("g").streams
        confirmed = {name: held[name].through if name in held else 0 for name in self.names if self.wanted(name)}
        self.store.retain(confirmed)
        self.store.commit()
        self.settle()
        assert self.twin.used_bytes <= LIMIT

    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.names))
        events = list(self.store.read(name))
        if events:
            self.store.truncate(name, events[data.draw(st.integers(0, len(events) - 1))].position)
            self.asked.add(name)

    @rule(keep=st.integers(0, 3))
    def power_cut(self, keep: int) -> None:
        self.settle()
        self.twin.power_cut(keep)
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock, disk_limit=LIMIT)
        self.waiting = []
        for name, sent in self.sent.items():
            live = [event.payload for event in self.store.read(name)]
            assert not live or not sent or live[-1] == sent[-1] or live[-1] not in set(sent)
            if live and live[-1] not in set(sent):
                self.sent[name] = [*sent, *(payload for payload in live if payload not in set(sent))]

    @precondition(lambda self: hasattr(self, "store"))
    @invariant()
    def what_is_live_was_sent(self) -> None:
        for name, sent in self.sent.items():
            live = [event.payload for event in self.store.read(name)]
            known = set(live)
            thinned = "thinned" in self.store.stream(name).dropped
            expected = [payload for payload in sent if payload in known] if thinned else sent[len(sent) - len(live) :]
            assert live == expected

    @precondition(lambda self: hasattr(self, "store"))
    @invariant()
    def nothing_unconfirmed_went_without_a_policy_that_says_so(self) -> None:
        for name, config in self.configs.items():
            dropped = self.store.stream(name).dropped
            assert "age" not in dropped or dropped["age"].unsent == 0
            if self.wanted(name) and name not in self.asked:
                held = (
                    [event.payload for event in self.hub.read(f"g/{name}")] if self.hub.has_stream(f"g/{name}") else []
                )
                here = [event.payload for event in self.store.read(name)]
                missing = set(self.sent[name]) - set(held) - set(here)
                if config.when_full == "block":
                    assert not missing
                else:
                    assert set(dropped) >= (
                        {"disk_limit"} if missing and not config.retention.max_bytes else set()
                    ) or ("thinned" in dropped)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        assert [f for f in self.store.check().findings if f.severity == "error"] == []
        for _ in range(1000):
            unit = self.store.next_unit("g", self.hub.holdings("g").streams, self.wanted, 10_000)
            if unit is None:
                break
            self.hub.submit_unit(unit).result()
        for name in self.names:
            if self.wanted(name) and self.hub.has_stream(f"g/{name}"):
                here, there = self.store.stream(name).segments[0], self.hub.stream(f"g/{name}").segments[0]
                assert here.length == there.length
        assert [f for f in self.hub.check().findings if f.severity == "error"] == []


@pytest.mark.long
def test_live_data_is_as_the_policies_say_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "SETTLED_BYTES", 8000)
    # No shrinking: an example takes a while.
    few = settings(
        max_examples=40,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
    )
    Keeping.TestCase.settings = few
    Keeping.TestCase("runTest").runTest()
