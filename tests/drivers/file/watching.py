"""A directory that a source watches, its store, and its clock."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from drivers.contract import SourceSettings
from drivers.fake import RecordingSink
from drivers.file import FileDriver
from drivers.file.config import FileConfig
from storage.clock import Clock, FakeClock
from storage.trace import Trace, no_trace
from tests.drivers.running import Running

SETTINGS = SourceSettings(name="logger", driver="file", stream="plant/logger")


class Watched:
    """A gateway over `folder`. What `crash` does not find in the store is read again."""

    def __init__(self, folder: Path, config: FileConfig | None = None, settings: SourceSettings = SETTINGS) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.config = replace(config or FileConfig(), directory=folder)
        self.settings = settings
        self.clock = FakeClock()
        self.sink = RecordingSink()
        self.trace: Trace = no_trace
        self.start()

    def start(self) -> None:
        self.running = Running(self._make, self.settings, self.sink, clock=self.clock, trace=self.trace)

    def _make(self, settings: SourceSettings, clock: Clock) -> FileDriver:
        return FileDriver(self.config, settings, clock)

    def crash(self) -> None:
        """SIGKILL: what is not committed is gone, and nobody closes anything."""
        self.sink.lose_power()
        self.start()

    def put(self, name: str, content: bytes | str) -> Path:
        """A file renamed into place."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}")
        hidden.write_bytes(content if isinstance(content, bytes) else content.encode())
        return hidden.rename(path)

    def pass_time(self, seconds: float = 4.0) -> None:
        """Steps all along."""
        for _ in range(int(seconds / 0.5)):
            self.running.step()
            self.running.step()
            self.clock.advance(0.5)
        self.running.step()
        self.running.step()

    @property
    def payloads(self) -> list[bytes]:
        return self.sink.payloads()

    @property
    def rows(self) -> list[object]:
        return [json.loads(payload) for payload in self.payloads]

    def names(self, below: str = "") -> list[str]:
        """Files there, hidden ones too."""
        folder = self.folder / below
        return sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.exists() else []

    def counter(self, name: str) -> int:
        return self.running.counter(name)

    @property
    def trouble(self) -> str:
        return self.running.source.status().last_error or ""
