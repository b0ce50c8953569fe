"""Judges what others hold of a store: the hub that mirrors it, and the readers of a group."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from uuid import UUID

from storage import Position, SegmentStore
from tests.campaign.model import Found, Model, Segment
from tests.campaign.reading import Reading, damage


def judge_hub(hub: SegmentStore, model: Model, here: Reading, random: Random, boots: Mapping[UUID, int]) -> list[str]:
    """A hub holds a prefix of each segment, at the same positions, and goes on holding it."""
    there = Reading(hub, random, boots, "edge/")
    problems = [f"hub: {problem}" for problem in there.problems]
    problems += [f"hub, mended at opening: {line}" for line in hub.recovery]
    problems += [f"hub, check: {finding.where}: {finding.what}" for finding in damage(hub.check())]
    for segment, found in there.found.items():
        problems += [f"hub, {segment}: {what}" for what in _compare(found, here.found.get(segment))]
        problems += [f"hub, {segment}: {what}" for what in _went(model.mirrored.get(segment, Found()), found)]
    for segment in model.mirrored.keys() - there.found.keys():
        problems.append(f"hub, {segment}: is gone")
    if not problems:
        model.mirrored = there.found
    return problems


def _compare(there: Found, here: Found | None) -> list[str]:
    if here is None:
        return ["is not of this store"]
    if there.length > here.length:
        return [f"is {there.length} bytes long, here it is {here.length}"]
    mine = {p: identity for p, identity in here.live.items() if there.start <= p.offset < there.length}
    held = {p: identity for p, identity in there.live.items() if p.offset >= here.start}
    return [
        f"{position} is {held.get(position)}, here it is {mine.get(position)}"
        for position in mine.keys() | held.keys()
        if held.get(position) != mine.get(position)
    ]


def _went(before: Found, now: Found) -> list[str]:
    if now.length < before.length:
        return [f"was {before.length} bytes long, is {now.length}"]
    return [f"{identity} was at {p}, is gone" for p, identity in before.live.items() if now.live.get(p) != identity]


def judge_readers(model: Model, now: Reading) -> list[str]:
    """What lies before the last event that the group was handed of a segment was handed out, too."""
    problems = []
    for key, handed in model.read.items():
        _, name, number = key.split(" ")
        segment: Segment = (name, *_numbers(number))
        newest = next(reversed(handed))
        found = now.found[segment]
        left: list[Position] = [p for p in found.live if p < newest and p not in handed]
        if left:
            problems.append(f"{key}: {left[0]} was not handed out, {newest} was ({len(left)} such)")
        strange = [p for p in handed if p.offset >= found.start and p not in found.live]
        if strange:
            problems.append(f"{key}: {strange[0]} was handed out, and there is no event")
    return problems


def _numbers(text: str) -> tuple[int, int]:
    number, epoch = text.split(".")
    return int(number), int(epoch)
