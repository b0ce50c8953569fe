"""Chunks that are torn, missing, hit or without their record cost what they cost, and say so."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from storage import Gap, GapReason, SegmentStore
from storage.bulk.chunks import ChunkRecord
from storage.kv.memory import MemoryTwin
from tests.storage.footage import append, filled, payloads, picture


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("left", [None, 0, 1, 45_000])
def test_a_missing_or_torn_chunk_costs_what_was_in_it_and_says_so(left: int | None) -> None:
    twin = MemoryTwin()
    before = filled(twin)
    whole = twin.chunks.read(2, 0, twin.chunks.size(2) or 0)
    twin.chunks.damage(2, None if left is None else whole[:left])
    with SegmentStore.in_memory(twin) as store:
        gaps: list[Gap] = []
        after = list(store.read("v", on_gap=gaps.append))
        kept = 0 if left is None else left // (len(whole) // 4)
        assert after == before[: 4 + kept] + before[8:]
        assert [(r.stream, r.start, r.end, r.events) for r in store.salvaged.lost] == [
            ("v", event.position.offset, following.position.offset, 1)
            for event, following in pairwise(before[4 + kept : 9])
        ]
        assert all(any(str(lost) in line for line in store.recovery) for lost in store.salvaged.lost)
        assert [(gap.position, gap.next) for gap in store.gaps("v")] == [(gap.position, gap.next) for gap in gaps]
        assert [gap.events for gap in gaps] == [1] * (4 - kept)
        assert all(gap.reason is GapReason.DAMAGED for gap in gaps)
        assert gaps[0].position == before[4 + kept].position
        assert gaps[-1].next == before[8].position
        assert store.check().ok
        append(store, 12)
        assert payloads(store)[-1] == picture(12)
    with SegmentStore.in_memory(twin) as store:
        assert store.recovery == ()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_in_a_chunk_costs_the_block_it_hit(seed: int) -> None:
    twin = MemoryTwin()
    before = filled(twin)
    chance = random.Random(seed)
    number = chance.choice(twin.chunks.numbers())
    data = bytearray(twin.chunks.read(number, 0, twin.chunks.size(number) or 0))
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    twin.chunks.damage(number, bytes(data))
    with SegmentStore.in_memory(twin) as store:
        gaps: list[Gap] = []
        after = list(store.read("v", on_gap=gaps.append))
        [gap] = gaps
        assert after == [event for event in before if event.position != gap.position]
        assert len(after) == 11
        assert gap.events == 1
        assert len([finding for finding in store.check().findings if finding.severity == "error"]) == 1


@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_whose_record_is_gone_or_old_is_kept_where_pointers_name_it() -> None:
    twin = MemoryTwin()
    before = filled(twin)
    with SegmentStore.in_memory(twin) as store:
        for number, record in list(store._catalog.chunks.items()):
            store.submit_take(_rewind(number, None if number == 1 else record), 0).result()
    with SegmentStore.in_memory(twin) as store:
        assert len(store.recovery) == 3
        assert list(store.read("v")) == before
        assert store.check().findings == []


def _rewind(number: int, record: ChunkRecord | None) -> Callable[..., None]:
    from dataclasses import replace

    from storage import Receipt

    def take(group: object, ticket: object) -> None:
        from storage.group import Group
        from storage.ticket import Ticket

        assert isinstance(group, Group)
        assert isinstance(ticket, Ticket)
        if record is None:
            group.changes.gone_chunks.append(number)
            group.bulk.unlink_given_up = lambda *_: None  # type: ignore[method-assign]
        else:
            size = record.size_bytes // 4
            group.changes.chunks[number] = replace(record, size_bytes=size, end=record.first + 1, sealed=False)
        group.changes.cursors["touched"] = b"%d" % number
        group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

    return take


def test_a_chunk_that_nothing_names_is_unlinked() -> None:
    twin = MemoryTwin()
    before = filled(twin)
    twin.chunks.damage(99, picture(1))
    twin.chunks.damage(98, twin.chunks.read(1, 0, 30_000))
    with SegmentStore.in_memory(twin) as store:
        assert twin.chunks.numbers() == [1]
        assert list(store.read("v")) == before


@pytest.mark.usefixtures("small_chunks")
def test_another_block_in_the_place_of_the_one_pointed_to_is_not_taken_for_it() -> None:
    twin = MemoryTwin()
    before = filled(twin)
    whole = twin.chunks.read(2, 0, twin.chunks.size(2) or 0)
    size = len(whole) // 4
    twin.chunks.damage(2, whole[size : 2 * size] + whole[size:])
    with SegmentStore.in_memory(twin) as store:
        assert list(store.read("v")) == before[:4] + before[5:]


@pytest.mark.usefixtures("small_chunks")
def test_check_tells_of_a_chunk_that_went_missing_while_open() -> None:
    twin = MemoryTwin()
    filled(twin)
    with SegmentStore.in_memory(twin) as store:
        twin.chunks.damage(2, None)
        assert "chunk 2" in [finding.where for finding in store.check().findings]
