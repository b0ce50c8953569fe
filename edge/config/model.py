"""The configuration after it was read and found good."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from drivers.contract import SourceSettings
from edge.config.tables import HubTable, NodeTable, StreamTable, UpstreamTable


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """A source: what all have, and the driver's own `Config`."""

    settings: SourceSettings
    driver: object

    @property
    def name(self) -> str:
        return self.settings.name


@dataclass(frozen=True, slots=True)
class Upstream:
    """An upstream and the token that was in its file."""

    table: UpstreamTable
    token: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.table.name


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub and the tokens that were in its file, by node; None: whoever reaches the address may speak."""

    table: HubTable
    tokens: dict[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that `edge run` is told. `notices` are what a person should know though nothing is wrong."""

    node: NodeTable
    sources: tuple[SourceConfig, ...] = ()
    streams: tuple[StreamTable, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    hub: Hub | None = None
    files: tuple[Path, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def store_path(self) -> Path:
        return self.node.data_dir / "store"
