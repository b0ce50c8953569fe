"""Opening a store: what is there is loaded, holes are closed, and the opening gets its number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from storage import keys
from storage.bulk.orphans import settle_chunks
from storage.catalog import Catalog
from storage.chain import CommitRecord
from storage.clock import Clock
from storage.committer import Committer
from storage.errors import DamagedBlockError, StoreDamagedError
from storage.group import Group
from storage.kv.contract import KeyValueStore
from storage.records import FamilyRecord, NodeRecord
from storage.salvage.holes import Salvage
from storage.salvage.newest import find_missing
from storage.salvage.report import SalvageReport
from storage.salvage.scrub import Scrub
from storage.ticket import Ticket
from storage.trace import Trace


@dataclass(frozen=True, slots=True)
class Opened:
    """A store that is ready, and what was mended on the way."""

    catalog: Catalog
    committer: Committer
    salvaged: SalvageReport


def load(kv: KeyValueStore, store: UUID) -> tuple[Catalog, CommitRecord | None, SalvageReport]:
    """Load the tables and close the holes of the chain. Raises StoreDamagedError."""
    try:
        catalog = Catalog.load(kv)
        salvage = Salvage(kv, catalog, store, kv.evidence)
        last = salvage.close_holes()
        if salvage.report.lines:
            catalog = Catalog.load(kv)
    except DamagedBlockError as error:
        raise StoreDamagedError(
            f"the store's tables are damaged: {error}. Copy its files before anything else"
        ) from error
    salvage.report.lines[:0] = kv.evidence.mended
    return catalog, last, salvage.report


def open_for_writing(kv: KeyValueStore, store: UUID, clock: Clock, trace: Trace) -> Opened:
    """Load, mend, and commit the number of this opening, durable when it returns."""
    catalog, last, report = load(kv, store)
    missing, told = find_missing(kv, store, clock.boot_id, 0 if last is None else last.number)
    if missing is not None:
        missing.look(kv, catalog, store)
        missing.tell(catalog, report)
        last = missing.last
    trace("store.loaded", {"commits": 0 if last is None else last.number})
    committer = Committer(kv, catalog, clock, trace, store=store, last=last)
    opening = 1 + max(0 if catalog.node is None else catalog.node.opening, 0 if told is None else told.opening)
    verified = 0 if last is None else last.number
    committer.opening = opening
    node = replace(catalog.node or NodeRecord(store, 0, 0), store=store, opening=opening, verified=verified)
    if missing is not None:
        node = replace(node, chain=verified + 1)
    chunks = settle_chunks(kv, catalog, report, {} if missing is None else missing.chunks)
    adopted = {family.name: family for family in _settle_families(kv, catalog)}
    catalog.families.update(adopted)
    scrub = Scrub(kv, catalog, report)
    scrub.look(chunks.lost)

    def take(group: Group, ticket: Ticket) -> None:
        group.changes.node = node
        group.changes.families.update(adopted)
        group.changes.chunks.update(chunks.records)
        group.changes.gone_chunks += chunks.gone
        scrub.take(group)
        if missing is not None:
            missing.take(group)
        _end_last_boot(group, None if missing is not None else last)

    committer.submit(Ticket(committer), take, 0)
    committer.commit()
    if committer.last_commit == verified:
        committer.refuse_to_open()
    kv.evidence_settled()
    trace("store.opened", {"opening": opening})
    return Opened(catalog, committer, report)


def _end_last_boot(group: Group, last: CommitRecord | None) -> None:
    """A boot that is over ran at least until its newest commit: that bounds it, and costs no write while it runs."""
    timeline = group.catalog.timelines.get(group.store)
    boot = None if timeline is None or last is None else timeline.by_id.get(last.boot)
    if boot is not None and last is not None and boot.id != group.boot and boot.last_ns < last.boot_ns:
        group.note_boot(replace(boot, last_ns=last.boot_ns))


def _settle_families(kv: KeyValueStore, catalog: Catalog) -> list[FamilyRecord]:
    """Families that no commit names. One with nothing in it that can be reached was created just before a crash, or
    given up and brought back by a repair: it is dropped. Any other lost its record, and is named again. A generation
    whose record came back without it is made again, empty.
    """
    adopted = []
    for name in catalog.families:
        kv.create_family(name)
    for name in kv.families():
        if name == keys.DEFAULT or name in catalog.families:
            continue
        kind, _, number = name.rpartition("-")
        first = kv.scan(name, b"", None, limit=1)
        live = _holds_live_entries if kind == "telemetry" else _holds_live_commits
        if not first or not live(kv, catalog, name):
            kv.drop_family(name)
        else:
            commit = int.from_bytes(first[0][0], "big") if kind == "chain" else 0
            adopted.append(FamilyRecord(kind, int(number), commit))
    return adopted


def _holds_live_commits(kv: KeyValueStore, catalog: Catalog, family: str) -> bool:
    """Whether a generation of the chain holds anything but what was given up."""
    begins = 0 if catalog.node is None else catalog.node.chain
    return bool(kv.scan(family, keys.chain(begins), None, limit=1))


def _holds_live_entries(kv: KeyValueStore, catalog: Catalog, family: str) -> bool:
    """Whether a generation holds anything but what a segment is known to have given up."""
    start = b""
    while items := kv.scan(family, start, None, limit=1):
        segment = keys.block_segment(items[0][0])
        record = catalog.segments.get(segment)
        behind = keys.block(segment, keys.LAST_OFFSET)
        last = kv.last_before(family, items[0][0], behind)
        if record is None or last is None or keys.block_offset(last[0]) >= record.start:
            return True
        start = behind
    return False
