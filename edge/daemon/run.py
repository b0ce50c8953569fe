"""The supervisor: starts a node, listens to signals, tells systemd, stops."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from edge.config import load
from edge.config.model import Config
from edge.daemon.committer import logged
from edge.daemon.node import Node
from edge.daemon.notify import Notifier
from edge.errors import ConfigurationError, EdgeError
from edge.safety import safety_sentence
from storage.clock import Clock, SystemClock
from storage.errors import StorageError
from storage.trace import Trace, no_trace

SWITCH_INTERVAL_S = 0.0005
"""How soon the committer gets the interpreter back beside a busy thread: at the default of 5 ms it commits a tenth."""
YOUNG_OBJECTS = 5_000
"""So many new objects before the interpreter looks for cycles: at the default of 700 a reader spends a quarter on that."""
TICK_S = 1.0
STATUS_S = 5.0
COMMITTER_PROGRESS_S = 20.0
"""A commit step that takes longer is no progress: the watchdog is not fed, and systemd starts the program again."""

_log = logging.getLogger(__name__)


class Signals:
    """What was asked of the program. `wake` ends the supervisor's wait."""

    def __init__(self) -> None:
        self._changed = threading.Event()
        self.stop: str | None = None
        self.reload = False

    def listen(self) -> None:
        """Take SIGTERM, SIGINT and SIGHUP, where this is the main thread: no other may."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = signal.Signals(number).name
        self._changed.set()

    def wake(self) -> None:
        self._changed.set()

    def wait(self, timeout_s: float) -> None:
        self._changed.wait(timeout_s)
        self._changed.clear()


def run(
    config: Config,
    *,
    trace: Trace = no_trace,
    clock: Clock | None = None,
    signals: Signals | None = None,
    notifier: Notifier | None = None,
) -> int:
    """Run a node until a signal ends it. Returns the exit code: 0 stopped, 1 failed."""
    tune_interpreter()
    signals = signals if signals is not None else Signals()
    notifier = notifier if notifier is not None else Notifier()
    signals.listen()
    _log.info("starting %s: store %s, socket %s", config.node.name, config.store_path, config.node.socket)
    try:
        node = Node(config, clock or SystemClock(), logged(trace), signals.wake)
    except (StorageError, EdgeError) as error:
        _log.error("can't start: %s", error)
        return 1
    try:
        node.start()
    except EdgeError as error:
        _log.error("can't start: %s", error)
        node.stop()
        return 1
    return _Supervisor(node, signals, notifier).supervise()


def tune_interpreter() -> None:
    """What a process that stores and reads as fast as it can asks of its interpreter. For the top of a program."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


class _Supervisor:
    def __init__(self, node: Node, signals: Signals, notifier: Notifier) -> None:
        self._node = node
        self._signals = signals
        self._notifier = notifier
        self._status_due_s = 0.0
        self._late = False

    def supervise(self) -> int:
        node = self._node
        self._notifier.ready(safety_sentence(node.snapshot()))
        _log.info("running: %d sources, %d upstreams", len(node.config.sources), len(node.config.upstreams))
        while self._signals.stop is None and node.broken is None:
            self._tick()
            self._signals.wait(TICK_S)
        broken = node.broken
        self._notifier.stopping()
        _log.info("stopping: %s", broken or self._signals.stop)
        node.stop()
        if broken is not None:
            _log.critical("ended because %s; systemd starts it again", broken)
            return 1
        _log.info("stopped; everything acknowledged is on disk")
        return 0

    def _tick(self) -> None:
        if self._signals.reload:
            self._signals.reload = False
            self._reload()
        now_s = time.monotonic()
        late = now_s - self._node.committer.beat_s > COMMITTER_PROGRESS_S and not self._node.checking
        if late and not self._late:
            _log.error("the committer has not finished a step for %.0f s: is the disk hanging?", COMMITTER_PROGRESS_S)
        self._late = late
        if not late:
            self._notifier.alive()
        self._quietly(self._node.expire_transactions)
        self._quietly(self._node.scale_streams)
        if now_s >= self._status_due_s:
            self._status_due_s = now_s + STATUS_S
            self._quietly(self._tell)

    def _reload(self) -> None:
        self._notifier.send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))
        try:
            for section in self._node.reload(load(self._node.config.files[0])):
                _log.warning("reload: what changed in %s needs a restart: systemctl restart edge", section)
            _log.info("reloaded")
        except ConfigurationError as error:
            for problem in error.problems:
                _log.error("not reloaded: %s", problem)
        self._notifier.send(READY="1")

    def _tell(self) -> None:
        self._node.watch_disk()
        if self._notifier.listening:
            self._notifier.status(safety_sentence(self._node.snapshot()))

    @staticmethod
    def _quietly(step: Callable[[], None]) -> None:
        """Telling of the state must not end what the state is of."""
        try:
            step()
        except (StorageError, OSError) as error:
            _log.warning("the state can't be told: %s", error)
