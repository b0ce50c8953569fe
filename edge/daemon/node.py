"""A running node: its store, threads and uplinks put together from a configuration, and what the local API asks of it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import TypeVar

from drivers.addresses import host_and_port
from drivers.contract import Driver, MakesStreams
from drivers.registry import driver_class
from drivers.source import Source
from edge.config.model import Config, Hub, SourceConfig, Upstream
from edge.daemon.committer import Committer
from edge.daemon.keeping import confirmed
from edge.daemon.scaling import LoadScaling
from edge.daemon.scrubbing import ScrubWorker
from edge.daemon.settings import take_over
from edge.daemon.snapshots import source_snapshot, store_snapshot, stream_snapshot, uplink_snapshot
from edge.daemon.upstreams import check_same_upstreams
from edge.daemon.workers import STOP_S, SourceWorker, UplinkWorker, Worker
from edge.errors import EdgeError, UnknownNameError
from edge.http.hub import hub_application
from edge.http.local import local_application
from edge.http.seam import CheckResult, Finding
from edge.http.server import Server, TcpSite, UnixSite, check_certificate
from edge.snapshot import NodeSnapshot, StreamSnapshot
from storage.clock import Clock
from storage.model import StreamConfig
from storage.retention.forecast import Intake
from storage.store import SegmentStore
from storage.trace import Trace
from sync.hub.client import Credentials, HubUpstream
from sync.hub.receiver import Receiver
from sync.uplink import Uplink

W = TypeVar("W", bound=Worker)
C = TypeVar("C", SourceConfig, Upstream)

_log = logging.getLogger(__name__)


def program_version() -> str:
    """The installed release."""
    try:
        return version("edge-appliance")
    except PackageNotFoundError:
        return "unknown"


class Node:
    """Everything that runs. `start` and `stop` belong to the supervisor; the rest may be called from any thread."""

    def __init__(self, config: Config, clock: Clock, trace: Trace, wake: Callable[[], None]) -> None:
        """Opens the store. Raises StorageError, EdgeError."""
        self.config = config
        self.version = program_version()
        self._clock = clock
        self._trace = trace
        if config.hub is not None:
            check_certificate(config.hub.table.certificate, config.hub.table.key)
        _make_directory(config.node.data_dir)
        self.store = SegmentStore.open(config.store_path, clock=clock, trace=trace, disk_limit=config.node.disk_limit)
        self._started_ns = clock.wall_ns()
        self._started_boot_ns = clock.boot_ns()
        self.committer = Committer(self.store, wake)
        self._changing = threading.Lock()
        self._streams = _store_configs(config)
        self._sources = {source.name: self._source_worker(source) for source in config.sources}
        self._uplinks = {upstream.name: self._uplink_worker(upstream) for upstream in config.upstreams}
        self._intake = Intake()
        self._scaling = LoadScaling(self.store, clock)
        self._scrub = ScrubWorker(self.store)
        self._checks = 0
        self._server = Server(
            UnixSite(local_application(self), config.node.socket),
            _hub_site(config.hub, Receiver(self.store, trace), trace),
        )

    # Starting and stopping

    def start(self) -> None:
        """Start every thread. Raises ListenError."""
        for line in self.store.recovery:
            _log.warning("recovery: %s", line)
        for line in self.config.notices:
            _log.warning("%s", line)
        self.committer.start()
        self._server.start()
        for worker in (*self._sources.values(), *self._uplinks.values(), self._scrub):
            worker.start()
        take_over(self.store, self._streams)

    def stop(self) -> None:
        """Stop every thread, make durable what waits, close the store."""
        _end([*self._sources.values(), *self._uplinks.values(), self._scrub])
        self._server.stop()
        self.committer.stop()
        self.store.close()

    @property
    def broken(self) -> str | None:
        """Why the program can't go on, None while it can."""
        if self.committer.failed is not None:
            return self.committer.failed
        return None if self._server.alive else "the thread of the local API has ended"

    @property
    def checking(self) -> bool:
        """Whether the store is being checked, which holds up commits without anything being wrong."""
        return self._checks > 0

    def expire_transactions(self) -> None:
        """Abort what nobody holds any more: one step, to be taken every second."""
        for transaction in self.store.expire_transactions():
            _log.warning("transaction %s: aborted, nobody was heard of it for its lease", transaction)

    def scale_streams(self) -> None:
        """Scale what its load asks for: one step, to be taken every second."""
        self._scaling.step()

    def watch_disk(self) -> None:
        """One step of retention, and a look at how fast the disk fills. To be called every few seconds."""
        self._intake.sample(self._clock.boot_ns() / 1e9, self.store.written_bytes)
        uplinks = [worker.uplink for worker in list(self._uplinks.values())]
        names = [info.name for info in self.store.streams(internal=True)]
        kept = {name: config.retention for name, config in self._streams.items()}
        self.store.retain(confirmed(names, uplinks), self.store.reader_groups.consumed(), kept)

    def reload(self, config: Config) -> list[str]:
        """Take over a new configuration as far as that goes without a restart. Returns what needs one."""
        with self._changing:
            before = self.config
            self.config = replace(before, sources=config.sources, upstreams=config.upstreams, streams=config.streams)
            self._streams = _store_configs(config)
            _exchange(self._sources, _by_name(before.sources), _by_name(config.sources), self._source_worker)
            _exchange(self._uplinks, _by_name(before.upstreams), _by_name(config.upstreams), self._uplink_worker)
        take_over(self.store, self._streams)
        changed = {"[node]": before.node != config.node, "[hub]": before.hub != config.hub}
        return [section for section, differs in changed.items() if differs]

    def _source_worker(self, source: SourceConfig) -> SourceWorker:
        settings = source.settings
        worker: SourceWorker

        kind = driver_class(settings.driver)
        default = kind.stream_config if isinstance(kind, MakesStreams) else StreamConfig()

        def make_driver() -> Driver:
            return kind(source.driver, settings, self._clock)

        worker = SourceWorker(
            Source(
                make_driver,
                settings,
                self.store,
                clock=self._clock,
                random=Random(),
                stream_config=lambda name: self._streams.get(name, default),
                trace=self._trace,
                wake=lambda: worker.wake(),  # noqa: PLW0108  (the worker is made with the source that wakes it)
            )
        )
        return worker

    def _uplink_worker(self, upstream: Upstream) -> UplinkWorker:
        table = upstream.table
        hub = HubUpstream(
            table.url, credentials=Credentials(token=upstream.token, ca_file=table.ca_file), trace=self._trace
        )
        uplink = Uplink(
            table.name,
            self.config.node.name,
            self.store,
            hub,
            clock=self._clock,
            random=Random().random,
            patterns=table.streams,
            trace=self._trace,
        )
        return UplinkWorker(uplink, self.store, table.kind, table.streams)

    # What the local API asks

    def snapshot(self) -> NodeSnapshot:
        config = self.config
        statuses = {name: worker.uplink.status() for name, worker in list(self._uplinks.items())}
        now_s = time.monotonic()
        last_commit = self.store.last_commit
        return NodeSnapshot(
            node=config.node.name,
            version=self.version,
            pid=os.getpid(),
            now_ns=self._clock.wall_ns(),
            started_ns=self._clock.wall_ns() - (self._clock.boot_ns() - self._started_boot_ns),
            hub=config.hub.table.listen if config.hub is not None else None,
            config=str(config.files[0]) if config.files else "",
            notices=tuple(self._notices()),
            store=store_snapshot(self.store, config.store_path, config.node.disk_limit, self._intake),
            sources=tuple(source_snapshot(worker, self._clock) for worker in list(self._sources.values())),
            streams=tuple(
                stream_snapshot(info, statuses.values(), self._scaling.rates) for info in self.store.streams()
            ),
            uplinks=tuple(
                uplink_snapshot(worker, statuses[name], last_commit, now_s)
                for name, worker in list(self._uplinks.items())
                if name in statuses
            ),
        )

    def _notices(self) -> Iterable[str]:
        yield from self.config.notices
        if self._server.waiting is not None:
            yield self._server.waiting

    def stream_snapshot(self, name: str) -> StreamSnapshot:
        statuses = [worker.uplink.status() for worker in list(self._uplinks.values())]
        return stream_snapshot(self.store.stream(name), statuses, self._scaling.rates, self.store.gaps(name))

    def stream_config(self, name: str) -> StreamConfig:
        return self._streams.get(name, StreamConfig())

    def check_transaction(self, streams: Sequence[str]) -> None:
        check_same_upstreams(streams, [worker.uplink for worker in list(self._uplinks.values())])

    def command_source(self, name: str, command: str) -> None:
        worker = _named(self._sources, name, "source")
        commands = {
            "pause": worker.source.pause,
            "resume": worker.source.resume,
            "restart": worker.source.restart,
        }
        commands[command]()
        worker.wake()
        _log.info("source %s: %s, by the local API", name, command)

    def command_uplink(self, name: str, command: str) -> None:
        worker = _named(self._uplinks, name, "upstream")
        commands = {"pause": worker.uplink.pause, "resume": worker.uplink.resume, "now": worker.uplink.hurry}
        commands[command]()
        worker.wake()
        _log.info("uplink %s: %s, by the local API", name, command)

    def check(self) -> CheckResult:
        self._checks += 1
        try:
            report = self.store.check()
        finally:
            self._checks -= 1
        findings = tuple(Finding(finding.severity, finding.where, finding.what) for finding in report.findings)
        return CheckResult(report.ok, findings, report.blocks, report.events, report.commits)


def _store_configs(config: Config) -> dict[str, StreamConfig]:
    return {table.name: table.store_config() for table in config.streams}


def _hub_site(hub: Hub | None, receiver: Receiver, trace: Trace) -> TcpSite | None:
    if hub is None:
        return None
    host, port = host_and_port(hub.table.listen)
    application = hub_application(receiver, hub.tokens, trace)
    return TcpSite(application, host, port, hub.table.certificate, hub.table.key)


def _named(workers: dict[str, W], name: str, what: str) -> W:
    worker = workers.get(name)
    if worker is None:
        known = ", ".join(sorted(workers)) or "none are configured"
        raise UnknownNameError(f'no {what} is called "{name}"; there are: {known}')
    return worker


def _by_name(configured: Iterable[C]) -> dict[str, C]:
    return {each.name: each for each in configured}


def _exchange(workers: dict[str, W], old: dict[str, C], new: dict[str, C], make: Callable[[C], W]) -> None:
    """Stop what is gone or changed, start what is new or changed."""
    changed = [name for name in old if new.get(name) != old[name]]
    _end([workers[name] for name in changed])
    for name in changed:
        if name not in new:
            del workers[name]
    for name, wanted in new.items():
        if name not in workers or name in changed:
            workers[name] = make(wanted)
            workers[name].start()


def _end(workers: Sequence[Worker]) -> None:
    """Stop all of them at once, and wait for each."""
    for worker in workers:
        worker.ask_to_stop()
    deadline_s = time.monotonic() + STOP_S
    for worker in workers:
        worker.join(deadline_s)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeError(
            f"{path}: can't be made: {error.strerror or error}. Set [node] data_dir to a directory that this user may "
            "write to"
        ) from error
