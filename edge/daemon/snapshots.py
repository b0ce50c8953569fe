"""From what the parts say of themselves to one snapshot of the node."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from drivers.contract import new_counters
from drivers.status import SourceStatus
from edge.daemon.workers import SourceWorker, UplinkWorker
from edge.snapshot import (
    DropSnapshot,
    GapSnapshot,
    LagSnapshot,
    ScalingSnapshot,
    SegmentSnapshot,
    SourceSnapshot,
    StoreSnapshot,
    StreamSnapshot,
    UplinkSnapshot,
)
from storage.clock import Clock
from storage.model import Gap, ScalingPolicy, SegmentId, SegmentInfo, StreamInfo
from storage.retention.forecast import Intake, full_in_s
from storage.store import SegmentStore
from sync.uplink import UplinkStatus

STUCK_S = 30.0
"""A step of a source that takes longer hangs: every call of a driver is bounded far below."""
KEYS = 1 << 64
Rates = Callable[[SegmentId], tuple[float, ...]]
"""What comes in to a segment per second, over the windows of its stream's policy."""
MAX_GAPS = 1000
"""Gaps of one stream that a snapshot has, the newest."""


def store_snapshot(store: SegmentStore, path: Path, limit_bytes: int | None, intake: Intake) -> StoreSnapshot:
    """The store and the disk that it is on."""
    disk = os.statvfs(path)
    disk_bytes, free_bytes = store.disk_bytes(), disk.f_bavail * disk.f_frsize
    left_bytes = free_bytes if limit_bytes is None else min(free_bytes, limit_bytes - disk_bytes)
    outlook = store.outlook()
    if limit_bytes is not None:
        left_bytes += outlook.reclaimable_bytes
    return StoreSnapshot(
        path=str(path),
        store_id=str(store.store_id),
        opening=store.opening,
        last_commit=store.last_commit,
        disk_bytes=disk_bytes,
        disk_limit_bytes=limit_bytes,
        free_bytes=free_bytes,
        full_in_s=full_in_s(left_bytes, intake.bytes_per_s),
        full_stream=outlook.stream,
        full_loses=outlook.loses and limit_bytes is not None,
        blocked=store.blocked,
        recovery=tuple(store.recovery),
    )


OF_EVERY_SOURCE = {*new_counters(), "durable", "restarts"}
"""Counters that have a place of their own in a snapshot, or that no screen shows."""


def source_snapshot(worker: SourceWorker, clock: Clock) -> SourceSnapshot:
    """A source. Its driver's and its own counts are since the program started."""
    status = worker.source.status()
    stuck_for_s = worker.stuck_for_s
    stuck = stuck_for_s > STUCK_S
    counters = status.counters
    return SourceSnapshot(
        name=status.name,
        driver=status.driver,
        target=worker.source.settings.stream,
        state="STUCK" if stuck else status.state.value.upper(),
        detail=f"its device has not answered for {stuck_for_s:.0f} s" if stuck else _detail(status),
        events=counters.get("durable", 0),
        bytes=counters.get("bytes", 0),
        bad=counters.get("bad", 0),
        lost=counters.get("lost", 0),
        refused=counters.get("refused", 0),
        duplicates=counters.get("duplicates", 0),
        restarts=counters.get("restarts", 0),
        counters={name: counted for name, counted in counters.items() if name not in OF_EVERY_SOURCE},
        pending=status.waiting_events,
        last_event_ns=_wall_ns(status.last_event_ns, clock),
        retry_in_s=status.retry_in_s,
    )


def _detail(status: SourceStatus) -> str:
    """What is wrong, while it is."""
    if status.state.value in ("running", "paused", "starting"):
        return ""
    if status.state.value == "blocked":
        return f"the store takes nothing now: {status.pushback}"
    return status.last_error or ""


def _wall_ns(boot_ns: int | None, clock: Clock) -> int | None:
    return None if boot_ns is None else boot_ns + clock.wall_ns() - clock.boot_ns()


def uplink_snapshot(worker: UplinkWorker, status: UplinkStatus, last_commit: int, now_s: float) -> UplinkSnapshot:
    """An uplink. `now_s` is on the clock that its steps are given."""
    retry_s = status.retry_at_s
    problem = f"{status.problem}{f' {status.remedy}' if status.remedy else ''}" if status.problem is not None else ""
    return UplinkSnapshot(
        name=status.name,
        kind=worker.kind,
        url=status.where,
        guarantee=status.guarantee,
        state="PAUSED" if status.paused else status.state.value.upper(),
        detail=problem,
        streams=worker.patterns,
        confirmed_commit=last_commit - status.commits_behind,
        confirmed_ns=status.last_confirmed_ns,
        sent_events=status.events,
        sent_bytes=status.bytes,
        behind_events=status.events_behind,
        behind_bytes=status.bytes_behind,
        next_try_in_s=None if retry_s is None else max(0.0, retry_s - now_s),
    )


def stream_snapshot(
    info: StreamInfo, uplinks: Iterable[UplinkStatus], rates: Rates, gaps: Iterable[Gap] = ()
) -> StreamSnapshot:
    """A stream, and how far each upstream that gets it is behind."""
    newest = list(gaps)[-MAX_GAPS:]
    return StreamSnapshot(
        name=info.name,
        origin=info.origin,
        kind=info.config.kind,
        priority=info.config.priority,
        when_full=info.config.when_full,
        events=sum(segment.events for segment in info.segments),
        bytes=sum(segment.length - segment.start for segment in info.segments),
        epoch=max((segment.until or segment.id.epoch for segment in info.segments), default=0),
        durable_every_s=info.config.durable_every_s,
        scaling=_scaling(info.config.scaling),
        segments=tuple(_segment(segment, rates(segment.id)) for segment in info.segments),
        gaps=tuple(_gap(gap) for gap in newest),
        dropped=tuple(DropSnapshot(reason, *dropped) for reason, dropped in sorted(info.dropped.items())),
        lag=tuple(
            LagSnapshot(uplink.name, lag.bytes, lag.events, uplink.state.value.upper())
            for uplink in uplinks
            for lag in uplink.streams
            if lag.stream == info.name
        ),
    )


def _scaling(policy: ScalingPolicy) -> ScalingSnapshot:
    return ScalingSnapshot(
        policy.by, policy.target_per_s, policy.min_segments, policy.max_segments, policy.windows_s, policy.cooldown_s
    )


def _segment(info: SegmentInfo, rates: tuple[float, ...]) -> SegmentSnapshot:
    return SegmentSnapshot(
        id=str(info.id),
        state=info.state.name,
        epoch=info.id.epoch,
        key_low=info.keys.low / KEYS,
        key_high=info.keys.high / KEYS,
        start=info.start,
        length=info.length,
        events=info.events,
        gaps=info.gaps,
        rates_per_s=rates,
    )


def _gap(gap: Gap) -> GapSnapshot:
    return GapSnapshot(str(gap.position), str(gap.next), gap.reason.name, gap.events, gap.detail)
