"""How long the long runs are."""

from __future__ import annotations

import os

SOAK = os.environ.get("EDGE_SOAK") == "1"
"""Whether this is `python -m tests --soak`: long runs at full length."""
