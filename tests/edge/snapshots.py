"""A node in the middle of its life, for the screens."""

from __future__ import annotations

from dataclasses import replace

from edge.snapshot import (
    GapSnapshot,
    LagSnapshot,
    NodeSnapshot,
    SegmentSnapshot,
    SourceSnapshot,
    StoreSnapshot,
    StreamSnapshot,
    UplinkSnapshot,
)

NOW_NS = 1_700_000_000_000_000_000


def ago_ns(duration_s: float) -> int:
    return NOW_NS - int(duration_s * 1e9)


def stream(name: str, events: int, *, behind: int = 0, gaps: int = 0, origin: str | None = None) -> StreamSnapshot:
    segment = SegmentSnapshot(f"{name}/0.0", "OPEN", 0, 0.0, 1.0, 0, events * 50, events, gaps)
    return StreamSnapshot(
        name=name,
        origin=origin,
        kind="telemetry",
        priority=10,
        when_full="block",
        events=events,
        bytes=events * 50,
        segments=(segment,),
        gaps=tuple(GapSnapshot(f"0.0:{n}00", f"0.0:{n}50", "DAMAGED", None, "flipped bit") for n in range(gaps)),
        lag=(LagSnapshot("hub", behind * 50, behind, "LIVE"),) if origin is None else (),
    )


FLOW = SourceSnapshot(
    name="flow",
    driver="serial",
    target="plant/flow",
    state="RUNNING",
    events=12_000,
    bytes=60_000,
    last_event_ns=ago_ns(2),
)
FIELD = SourceSnapshot(name="field", driver="mqtt", target="site/{1}", state="RUNNING", events=345)
HUB = UplinkSnapshot(
    name="hub",
    kind="hub",
    url="hub https://hub.example:7443",
    guarantee="exactly once, transactional",
    state="LIVE",
    streams=("plant/*",),
    confirmed_commit=812,
    confirmed_ns=ago_ns(3),
    sent_events=12_345,
    sent_bytes=61_725,
)
WELL = NodeSnapshot(
    node="pump-7",
    version="0.1.0",
    pid=42,
    now_ns=NOW_NS,
    started_ns=ago_ns(3 * 3600),
    store=StoreSnapshot(
        path="/var/lib/edge/store",
        opening=3,
        last_commit=812,
        disk_bytes=3 << 20,
        disk_limit_bytes=8 << 30,
        free_bytes=40 << 30,
        full_in_s=3.2 * 86_400,
    ),
    sources=(FLOW, FIELD),
    streams=(stream("plant/flow", 12_000), stream("site/north", 345)),
    uplinks=(HUB,),
)
REFUSED = "hub https://hub.example:7443: Connection refused"
CUT_OFF = replace(
    WELL,
    streams=(stream("plant/flow", 12_000, behind=1204), stream("site/north", 345)),
    uplinks=(
        replace(
            HUB, state="BACKOFF", detail=REFUSED, behind_events=1204, behind_bytes=60_200, confirmed_ns=ago_ns(185)
        ),
    ),
)
FULL = replace(WELL, store=replace(WELL.store, blocked="disk full at /var/lib/edge/store", free_bytes=0))
HUB_NODE = NodeSnapshot(
    node="hub",
    now_ns=NOW_NS,
    started_ns=ago_ns(60),
    hub="0.0.0.0:7443",
    streams=(stream("pump-7/plant/flow", 12_000, origin="pump-7"), stream("pump-8/plant/flow", 5, origin="pump-8")),
)
