"""[[stream]] settings of streams that are there already: what can be changed is."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from storage.configuring import may_become
from storage.errors import StoreBusyError, StoreFullError
from storage.model import StreamConfig
from storage.store import SegmentStore

_log = logging.getLogger(__name__)


def take_over(store: SegmentStore, wanted: Mapping[str, StreamConfig]) -> None:
    """Change the settings of streams as the configuration has them; the log says what keeps its own.

    A stream that is mirrored is kept as its origin says, but for how long.
    """
    for name, config in wanted.items():
        if not store.has_stream(name):
            continue
        stream = store.stream(name)
        if stream.config == config:
            continue
        if stream.origin is not None:
            _log.info("stream %s is mirrored from %s: of its [[stream]] only retention counts", name, stream.origin)
        elif not may_become(stream.config, config):
            _log.warning(
                "stream %s keeps all settings that it was made with: its kind (%s), priority (%d) and when_full (%s) can't "
                "be changed; use another stream for others", name, stream.config.kind, stream.config.priority,
                stream.config.when_full,
            )  # fmt: skip
        else:
            try:
                store.configure_stream(name, config)
            except (StoreFullError, StoreBusyError) as error:
                _log.warning("streams keep their settings until the next start or reload: %s", error)
                return
            _log.info("stream %s: takes over the settings of its [[stream]]", name)
