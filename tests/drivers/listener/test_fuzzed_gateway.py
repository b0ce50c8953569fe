"""What no client should say, said to a gateway: the long run is `python -m tests.drivers.listener.fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drivers.listener.fuzz import campaign


@pytest.mark.long
def test_neither_the_gateway_nor_another_client_minds_what_a_client_says(tmp_path: Path) -> None:
    assert "nothing found" in campaign(tmp_path, seconds=4.0, seed=1)
