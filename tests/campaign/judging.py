"""The verification of a store after a kill or a power cut, against its model."""

from __future__ import annotations

from collections import Counter
from random import Random

from storage import FakeClock, SegmentStore
from tests.campaign.fresh import Fresh
from tests.campaign.journal import Submitted
from tests.campaign.kept import Kept
from tests.campaign.model import Model
from tests.campaign.others import judge_hub, judge_readers
from tests.campaign.reading import Reading, damage
from tests.campaign.transacted import Transacted

TABLE = "campaign"


def judge(store: SegmentStore, hub: SegmentStore | None, model: Model, random: Random, limit_bytes: int) -> list[str]:
    """What is wrong, in words; [] where every promise was kept, and then `model` is brought up to date."""
    boots = {FakeClock(boot=boot).boot_id: base_ns for boot, base_ns in model.boots.items()}
    now = Reading(store, random, boots)
    problems = now.problems + model.again + Kept(model, now).problems
    fresh = Fresh(model, now, store.last_number)
    problems += fresh.problems
    transacted = Transacted(store, model, now, fresh)
    problems += transacted.problems
    problems += _judge_state(store, model, fresh)
    problems += [f"mended at opening: {line}" for line in store.recovery]
    problems += [f"check: {finding.where}: {finding.what}" for finding in damage(store.check())]
    problems += _judge_chunks(store)
    problems += judge_readers(model, now)
    if max(model.peak_bytes, store.disk_bytes()) > limit_bytes:
        problems.append(f"{max(model.peak_bytes, store.disk_bytes())} bytes were on disk, the limit is {limit_bytes}")
    if hub is not None:
        problems += judge_hub(hub, model, now, random, boots)
    if not problems:
        model.known = now.found
        model.given_up = Counter()
        for stream in now.streams.values():
            model.given_up.update({reason: dropped.events for reason, dropped in stream.dropped.items()})
        model.safe = fresh.ends
        model.cursors = dict(store.cursors())
        transacted.settle()
        model.settle()
    return problems


def _judge_state(store: SegmentStore, model: Model, fresh: Fresh) -> list[str]:
    """Cursors and the table's values are those of the last submission that is there of those that set them."""
    problems = []
    setting: dict[str, list[tuple[Submitted, bool]]] = {}
    changing: dict[str, list[tuple[Submitted, bool]]] = {}
    for submitted, acknowledged in _in_order(model):
        for name in submitted.cursors:
            setting.setdefault(name, []).append((submitted, acknowledged))
        if submitted.change is not None:
            changing.setdefault(submitted.change[0], []).append((submitted, acknowledged))
    for name, of_name in setting.items():
        held = store.cursor(name)
        may = [model.cursors.get(name)]
        for submitted, acknowledged in of_name:
            if acknowledged or submitted.id in fresh.there:
                may = []
            if submitted.id not in fresh.absent:
                may.append(submitted.cursors[name])
        if held not in may:
            problems.append(f"cursor {name} is {held!r}; by the data that is there it must be one of {may}")
    for name, value in model.cursors.items():
        if name not in setting and not name.startswith("_") and store.cursor(name) != value:
            problems.append(f"cursor {name} was {value!r}, is {store.cursor(name)!r}")
    for key, of_key in changing.items():
        problems += _judge_key(store, model, fresh, key, of_key)
    return problems


def _judge_key(
    store: SegmentStore, model: Model, fresh: Fresh, key: str, changes: list[tuple[Submitted, bool]]
) -> list[str]:
    """A table's key counts its changes: each changed the version it was submitted against, and no other did."""
    version, value = model.table.get(key, (0, b""))
    held = store.table(TABLE).get(key)
    least = version + sum(acknowledged for _, acknowledged in changes)
    most = version + sum(submitted.id not in fresh.absent for submitted, _ in changes)
    now = (0, b"") if held is None else (held.version, held.value)
    problems = []
    if not least <= now[0] <= most:
        problems.append(f"table key {key} is at version {now[0]}, must be from {least} to {most}")
    if now[0] != version:
        setters = {
            submitted.change[1] for submitted, _ in changes if submitted.change and submitted.id not in fresh.absent
        }
        if now[1] not in setters:
            problems.append(f"table key {key} is {now[1]!r}, which nobody set")
    elif now[1] != value:
        problems.append(f"table key {key} is {now[1]!r} at version {version}, was {value!r}")
    if not problems:
        model.table[key] = now
    return problems


def _in_order(model: Model) -> list[tuple[Submitted, bool]]:
    """What this round submitted and was not refused, in that order, and whether it was acknowledged."""
    waiting = [(submitted, False) for submitted in model.waiting.values()]
    return sorted(waiting + [(submitted, True) for submitted, _ in model.told.values()], key=lambda each: each[0].id)


def _judge_chunks(store: SegmentStore) -> list[str]:
    """Every chunk is named and holds something readable, and no byte lies in one that no pointer names."""
    catalog, chunks = store._catalog, store._kv.chunks
    problems = []
    if chunks.numbers() != sorted(catalog.chunks):
        problems.append(f"chunks {chunks.numbers()} are there, {sorted(catalog.chunks)} are named")
    for number, record in catalog.chunks.items():
        if chunks.size(number) != record.size_bytes:
            problems.append(f"chunk {number} has {chunks.size(number)} bytes, {record.size_bytes} are named")
        segment = catalog.segments.get(record.segment)
        if segment is not None and record.end <= segment.start:
            problems.append(f"chunk {number} holds nothing readable")
    return problems
