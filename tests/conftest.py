"""What every test needs, whoever started them."""

from __future__ import annotations

import signal

# A runner in the background ignores SIGINT, and every process that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
