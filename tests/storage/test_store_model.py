"""Whatever happens to a store, it holds what the model says (`tests.storage.model.semantics`)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from storage import building, committer
from tests.length import SOAK
from tests.storage.model.machine import Machine


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that a few events are several blocks, commits, generations."""
    monkeypatch.setattr(building, "BLOCK_TARGET_BYTES", 200)
    monkeypatch.setattr(committer, "GROUP_BYTES", 1500)
    monkeypatch.setattr(committer, "GENERATION_BYTES", 3000)
    monkeypatch.setattr(committer, "SETTLED_BYTES", 8000)
    monkeypatch.setattr("storage.ticket._LOOK_AGAIN_S", 0.0001)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_store_holds_what_the_model_says_whatever_happens() -> None:
    limits = settings(
        max_examples=1000 if SOAK else 60,
        stateful_step_count=50,
        deadline=None,
        report_multiple_bugs=False,
        # Shrinking takes minutes: a soak does it.
        phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if SOAK else [])],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=limits)
