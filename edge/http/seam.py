"""What the local API needs of the daemon, so that it can be run against anything that has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.snapshot import NodeSnapshot, StreamSnapshot
from storage.model import StreamConfig
from storage.store import SegmentStore


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the checker found: `severity` is `error` or `note`."""

    severity: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What the consistency checker says of the whole store."""

    ok: bool
    findings: tuple[Finding, ...]
    blocks: int
    events: int
    commits: int


class LocalNode(Protocol):
    """A running node. Methods may be called from any thread and return soon, `check` excepted."""

    store: SegmentStore

    def snapshot(self) -> NodeSnapshot:
        """Everything, streams without their gaps."""

    def stream_snapshot(self, name: str) -> StreamSnapshot:
        """One stream with its gaps. Raises UnknownStreamError."""

    def stream_config(self, name: str) -> StreamConfig:
        """How a stream is kept that is made by its first use."""

    def check_transaction(self, streams: Sequence[str]) -> None:
        """Raises TransactionRefusedError where a transaction of these streams would not arrive whole upstream."""

    def command_source(self, name: str, command: str) -> None:
        """`pause`, `resume` or `restart`. Raises UnknownNameError."""

    def command_uplink(self, name: str, command: str) -> None:
        """`now`, `pause` or `resume`. Raises UnknownNameError."""

    def check(self) -> CheckResult:
        """Check the store's consistency: reads all of it."""
