"""What every test needs, whoever started them."""

from __future__ import annotations

import signal

from hypothesis import settings

from tests.length import SOAK

# A runner in the background ignores SIGINT, and every process that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The normal run tries the same examples every time, so that what fails is what was changed; a soak tries new ones.
settings.register_profile("normal", derandomize=True)
settings.load_profile("default" if SOAK else "normal")
