"""`python -m tests.drivers.file_campaign.broken WHICH ARGUMENTS-OF-THE-NODE`: a gateway with one promise broken.

early         a file is moved away when it was read, and not when it is stored
forgetful     how far a file was read is not committed
placeless     where in a log it stands is not committed
overwriting   what is moved takes the place of what has its name
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from drivers.contract import Delivery
from drivers.file import FileDriver, FollowDriver, moving
from tests.oracle.node import main


def move_early() -> None:
    poll = FileDriver.poll

    def moved_at_once(self: FileDriver, timeout_s: float) -> Delivery | None:
        delivery = poll(self, timeout_s)
        if delivery is not None:
            self.ack(delivery)
            self._move()
        return delivery

    FileDriver.poll = moved_at_once  # type: ignore[method-assign]


def forget_files() -> None:
    poll = FileDriver.poll

    def without_parts(self: FileDriver, timeout_s: float) -> Delivery | None:
        delivery = poll(self, timeout_s)
        return None if delivery is None else replace(delivery, parts={})

    FileDriver.poll = without_parts  # type: ignore[method-assign]


def forget_places() -> None:
    poll = FollowDriver.poll

    def without_cursor(self: FollowDriver, timeout_s: float) -> Delivery | None:
        delivery = poll(self, timeout_s)
        return None if delivery is None else replace(delivery, cursor=None)

    FollowDriver.poll = without_cursor  # type: ignore[method-assign]


def overwrite() -> None:
    def rename(source: Path, target: Path) -> bool:
        source.rename(target)
        return True

    moving._rename = rename


BREAKS: dict[str, Callable[[], None]] = {
    "early": move_early,
    "forgetful": forget_files,
    "placeless": forget_places,
    "overwriting": overwrite,
}


if __name__ == "__main__":
    BREAKS[sys.argv.pop(1)]()
    sys.exit(main())
