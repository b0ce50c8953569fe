"""A disk that is full: nothing is lost, everybody is told, and work goes on by itself. A small tmpfs, really full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge import RequestRefusedError
from tests.edge.running import running, write_config
from tests.small_disk import run_on_small_disk
from tests.waiting import until

BALLAST_BYTES = 24 << 20


def fill_and_free(mount: Path) -> None:
    """Runs inside a mount namespace of its own."""
    ballast = mount / "ballast"
    ballast.write_bytes(bytes(BALLAST_BYTES))
    with running(write_config(mount)) as node:
        number = 0
        while True:
            try:
                number += node.client.write("a", [os.urandom(1 << 20)], writer="w", number=number).stored
            except RequestRefusedError as error:
                assert error.status == 507
                print("refused:", error)
                break
        print(node.edge("status").out.splitlines()[0])
        assert node.edge("status").out.startswith("✗ Not storing: ")
        assert node.client.last_number("a", "w") == number - 1
        more = node.edge("write", "a", "--writer", "w", "--number", str(number), stdin=b"x\n")
        assert more.code == 1
        assert f"with --writer w --number {number}" in more.err
        ballast.unlink()
        until(lambda: node.client.status().store.blocked is None, "the store to go on by itself")
        again = node.client.write("a", [b"one", b"more"], writer="w", number=number)
        assert again.stored + again.duplicates == 2
        assert [event.number for event in node.client.read("a")] == list(range(number + 2))
        assert "storing again" in node.log.read_text()
    print("went on by itself")


@pytest.mark.long
def test_a_full_disk_is_told_and_passes(tmp_path: Path) -> None:
    assert "went on by itself" in run_on_small_disk(__name__, fill_and_free.__name__, tmp_path)
