"""Rules that break: power cuts at every step, failed syncs, restarts."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.storage.model.bench import Bench, survives


class Breaking(Bench):
    """The power goes at a moment between rules, or at some step of what comes next."""

    @rule(
        what=st.sampled_from(
            ["power will go"] * 6
            + ["power cut", "reboot", "failed sync", "failed sync, no power cut", "restart", "stall"]
        ),
        torn=st.integers(0, 2),
        steps=st.integers(0, 12),
    )
    @survives
    def trouble(self, what: str, torn: int, steps: int) -> None:
        self.torn = torn
        if what == "power will go":
            self.twin.stalled_writes = 0
            self.steps_left = steps if self.steps_left is None else self.steps_left
        elif what == "stall":
            self.twin.stalled_writes = 2 if self.steps_left is None else 0
        elif what == "restart":
            self.restart()
        elif what.startswith("failed sync"):
            self.fail_a_sync()
            if self.store.failed is not None and what == "failed sync":
                self.lose_power()
            elif self.store.failed is not None:
                self.store.close()
                self.come_back()
        else:
            if what == "reboot":
                self.clock.reboot()
            self.lose_power()

    def restart(self) -> None:
        self.twin.stalled_writes = 0
        self.store.close()
        self.settle()
        assert not self.in_flight
        self.come_back()

    def fail_a_sync(self) -> None:
        """Nothing written since the last one may be called durable: what it is, is known after reopening."""
        self.twin.stalled_writes = 0
        self.twin.failing_syncs = 1
        self.store.commit()
        self.twin.failing_syncs = 0
        self.settle()
