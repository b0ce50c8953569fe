"""Each layer, imported alone in a fresh interpreter, brings along what it may and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

OURS = {"edge", "drivers", "sync", "storage"}
FENCED = {"rocksdict", "google_crc32c", "zstandard", "serial", "paho", "aiohttp", "pydantic", "rich", "cv2", "av"}

ALLOWED = {
    "storage": {"storage", "rocksdict", "google_crc32c", "zstandard"},
    "drivers": {"drivers", "storage", "rocksdict", "google_crc32c", "zstandard"},
    "drivers.registry": {"drivers", "storage", "rocksdict", "google_crc32c", "zstandard"},
    "sync": {"sync", "storage", "rocksdict", "google_crc32c", "zstandard"},
    "sync.hub.client": {"sync", "storage", "rocksdict", "google_crc32c", "zstandard"},
    "sync.hub.receiver": {"sync", "storage", "rocksdict", "google_crc32c", "zstandard"},
}


@pytest.mark.long
@pytest.mark.parametrize("module", ALLOWED)
def test_a_layer_brings_only_what_it_may(module: str) -> None:
    code = f"import {module}, sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert (OURS | FENCED) & set(loaded) <= ALLOWED[module]
    assert module.split(".", maxsplit=1)[0] in loaded
