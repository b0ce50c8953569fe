"""A bulk stream as the configuration asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.edge.running import running, write_config
from tests.edge.test_daemon import SYNTHETIC
from tests.waiting import until


@pytest.mark.long
def test_a_source_fills_the_chunks_of_a_bulk_stream(tmp_path: Path) -> None:
    bulk = '[[stream]]\nname = "plant/signal"\nkind = "bulk"\ndurable_every = "200ms"\n'
    with running(write_config(tmp_path, more=SYNTHETIC + bulk)) as node:
        until(lambda: node.client.sources()[0].events > 3, "events that are durable")
        stream = node.client.stream("plant/signal")
        assert (stream.kind, stream.durable_every_s) == ("bulk", 0.2)
        assert "bulk, durable every 0.2 s" in node.edge("streams", "plant/signal").out
        assert list((tmp_path / "data" / "store" / "chunks").glob("*.chunk"))
        assert len(list(node.client.read("plant/signal"))) > 3
        assert node.client.check().ok
