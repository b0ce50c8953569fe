"""What a technician reads, at 80 columns and without colour."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from edge.safety import safety_sentence
from edge.screens import overview_screen, sources_screen, stream_screen, streams_screen, text_of, uplinks_screen
from edge.snapshot import NodeSnapshot, ScalingSnapshot, StoreSnapshot, StreamSnapshot, from_json, to_json
from tests.edge.snapshots import CUT_OFF, FIELD, FLOW, FULL, HUB, HUB_NODE, REFUSED, WELL, stream


def golden(text: str) -> str:
    return text.removeprefix("\n")


def test_the_overview_of_a_node_that_is_well() -> None:
    assert text_of(overview_screen(WELL)) == golden(
        """
● Safe: all 12,345 events on disk; hub confirmed the last 3 s ago.
pump-7 · up 3 h · edge 0.1.0
Disk 3.00 MiB of 8.00 GiB used, 40.0 GiB free, full in 3 d at this rate

SOURCE  DRIVER  STATE      EVENTS  LOST  LAST
flow    serial  ● running  12,000     0  2 s ago
field   mqtt    ● running     345     0  never

UPLINK  STATE   BEHIND    SENT  CONFIRMED  GUARANTEE
hub     ● live       0  12,345  3 s ago    exactly once, transactional

STREAM      EVENTS      SIZE  GAPS  LAG
plant/flow  12,000   586 KiB     0  hub has all
site/north     345  16.8 KiB     0  hub has all
"""
    )


def test_the_overview_while_upstream_is_away() -> None:
    assert text_of(overview_screen(CUT_OFF)) == golden(
        """
◐ Holding 1,204 events (3 min) until hub is back: hub https://hub.example:7443:
Connection refused
pump-7 · up 3 h · edge 0.1.0
Disk 3.00 MiB of 8.00 GiB used, 40.0 GiB free, full in 3 d at this rate

SOURCE  DRIVER  STATE      EVENTS  LOST  LAST
flow    serial  ● running  12,000     0  2 s ago
field   mqtt    ● running     345     0  never

UPLINK  STATE      BEHIND    SENT  CONFIRMED  GUARANTEE
hub     ✗ backoff   1,204  12,345  3 min ago  exactly once, transactional
  hub: hub https://hub.example:7443: Connection refused

STREAM      EVENTS      SIZE  GAPS  LAG
plant/flow  12,000   586 KiB     0  hub 58.8 KiB
site/north     345  16.8 KiB     0  hub has all
"""
    )


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (WELL, "Safe: all 12,345 events on disk; hub confirmed the last 3 s ago."),
        (CUT_OFF, f"Holding 1,204 events (3 min) until hub is back: {REFUSED}"),
        (FULL, "Not storing: disk full at /var/lib/edge/store"),
        (HUB_NODE, "Safe: 12,005 events of 2 nodes on disk."),
        (replace(WELL, uplinks=()), "Safe: all 12,345 events on disk; no upstream is configured."),
        (
            replace(WELL, uplinks=(replace(HUB, state="DRAINING", behind_events=7, behind_bytes=350),)),
            "Safe: all 12,345 events on disk; hub is getting the last 7 events.",
        ),
        (
            replace(WELL, uplinks=(replace(HUB, state="PAUSED", behind_events=None, behind_bytes=350),)),
            "Holding 350 B (3 s) because hub is paused; resume it with: edge sync hub resume",
        ),
        (
            replace(WELL, streams=(stream("plant/flow", 9, gaps=2),)),
            "Safe: 9 events on disk, 2 gaps (edge streams); hub confirmed the last 3 s ago.",
        ),
        (
            replace(WELL, uplinks=(replace(HUB, confirmed_ns=None, state="BACKOFF", detail="no route"),)),
            "Safe: all 12,345 events on disk; hub has confirmed nothing yet (no route).",
        ),
        (NodeSnapshot("new"), "Safe: all 0 events on disk; no upstream is configured."),
    ],
)
def test_one_sentence_says_whether_everything_is_safe(node: NodeSnapshot, sentence: str) -> None:
    assert safety_sentence(node) == sentence


def test_a_sick_source_is_named_beside_the_sentence_and_explained() -> None:
    detail = "/dev/ttyUSB0 is not there: plug it in"
    node = replace(WELL, sources=(replace(FLOW, state="BACKOFF", detail=detail), FIELD))
    lines = text_of(overview_screen(node)).splitlines()
    assert lines[1] == "✗ Not capturing from flow."
    assert f"  flow: {detail}" in lines
    assert any(line.startswith("flow    serial  ✗ backoff") for line in lines)


def test_the_overview_fits_80_by_24() -> None:
    sources = tuple(replace(FLOW, name=f"source-{n}") for n in range(5))
    node = replace(WELL, sources=sources, streams=tuple(stream(f"s/{n}", n) for n in range(50)))
    lines = text_of(overview_screen(node)).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "… and 42 more: edge streams" in lines


def test_one_stream_with_its_gaps() -> None:
    assert text_of(stream_screen(stream("plant/flow", 12_000, behind=4, gaps=2))) == golden(
        """
plant/flow: 12,000 events, 586 KiB
written here; telemetry, priority 10, when full: block
epoch 0, never scales by itself

SEGMENT  STATE   KEYS       START   LENGTH  EVENTS  GAPS
0.0      ● open  0.00-1.00      0  600,000  12,000     2

hub: 200 B behind
2 gaps:
  0.0:000 to 0.0:050: damaged, an unknown number of events (flipped bit)
  0.0:100 to 0.0:150: damaged, an unknown number of events (flipped bit)
"""
    )


def test_one_bulk_stream() -> None:
    shown = text_of(stream_screen(replace(stream("video/gate", 9), kind="bulk", durable_every_s=0.5)))
    assert "written here; bulk, durable every 0.5 s, priority 10, when full: block\n" in shown


def test_one_stream_that_scales_by_its_load() -> None:
    plain = stream("plant/flow", 12_000)
    (old,) = plain.segments
    scaled = replace(
        plain,
        epoch=1,
        scaling=ScalingSnapshot("events", 500.0, 1, 16, (10.0, 60.0, 300.0), 60.0),
        segments=(
            replace(old, state="SEALED"),
            replace(old, id="plant/flow/1.1", epoch=1, key_high=0.5, rates_per_s=(1234.5, 600.0, 500.0)),
            replace(old, id="plant/flow/2.1", epoch=1, key_low=0.5, rates_per_s=(0.4, 1.0, 2.0)),
        ),
    )
    assert text_of(stream_screen(scaled)) == golden(
        """
plant/flow: 12,000 events, 586 KiB
written here; telemetry, priority 10, when full: block
epoch 1, 1 to 16 segments of 500 events/s each

SEGMENT  STATE     KEYS       START   LENGTH  EVENTS  GAPS  EVENTS/S
0.0      ○ sealed  0.00-1.00      0  600,000  12,000     0
1.1      ● open    0.00-0.50      0  600,000  12,000     0     1,234
2.1      ● open    0.50-1.00      0  600,000  12,000     0         0

hub: has all of it
No gaps.
"""
    )
    assert from_json(StreamSnapshot, json.loads(json.dumps(to_json(scaled)))) == scaled


def test_what_a_driver_counts_of_its_own_is_shown_where_it_is_not_0_and_survives_the_way() -> None:
    local = replace(FIELD, name="local", counters={"connects": 1500, "turned_away": 0, "too_large": 2})
    node = from_json(NodeSnapshot, json.loads(json.dumps(to_json(replace(WELL, sources=(FLOW, local))))))
    assert text_of(sources_screen(node)).splitlines()[-1] == "  local: 1,500 connects, 2 too large"


def test_streams_sources_and_uplinks() -> None:
    assert text_of(streams_screen(HUB_NODE)) == golden(
        """
STREAM             EVENTS     SIZE  OPEN  GAPS  LAG
pump-7/plant/flow  12,000  586 KiB     1     0  mirror of pump-7
pump-8/plant/flow       5    250 B     1     0  mirror of pump-8
2 streams, 586 KiB
"""
    )
    assert text_of(sources_screen(WELL)) == golden(
        """
SOURCE  STATE      STREAM      EVENTS  BAD  LOST  REFUSED  RESTARTS
flow    ● running  plant/flow  12,000    0     0        0         0
field   ● running  site/{1}       345    0     0        0         0
"""
    )
    assert text_of(uplinks_screen(WELL)) == golden(
        """
UPLINK  STATE   BEHIND    SENT  CONFIRMED  GUARANTEE
hub     ● live       0  12,345  3 s ago    exactly once, transactional

hub: hub https://hub.example:7443, plant/*; through commit 812 of 812, 0 events
(0 B) to go
"""
    )


def test_what_is_not_configured_says_how() -> None:
    assert "add a [[source]]" in text_of(sources_screen(HUB_NODE))
    assert "add an [[upstream]]" in text_of(uplinks_screen(HUB_NODE))
    assert "No streams yet" in text_of(streams_screen(NodeSnapshot("new")))


@pytest.mark.parametrize("node", [WELL, CUT_OFF, FULL, HUB_NODE])
def test_colour_says_nothing_that_the_text_does_not(node: NodeSnapshot) -> None:
    coloured = StringIO()
    Console(file=coloured, width=80, force_terminal=True, color_system="truecolor").print(overview_screen(node))
    plain = text_of(overview_screen(node))
    assert "\x1b[" in coloured.getvalue()
    assert "\x1b" not in plain


@pytest.mark.parametrize("node", [WELL, CUT_OFF, FULL, HUB_NODE, replace(WELL, store=StoreSnapshot())])
def test_a_snapshot_survives_the_way_through_json(node: NodeSnapshot) -> None:
    assert from_json(NodeSnapshot, json.loads(json.dumps(to_json(node)))) == node


def test_what_another_version_sends_more_or_less_is_left_alone() -> None:
    raw = to_json(WELL)
    raw["new in a later version"] = 1
    del raw["uplinks"]
    assert from_json(NodeSnapshot, raw) == replace(WELL, uplinks=())
