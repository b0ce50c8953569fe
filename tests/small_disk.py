"""A small disk: a tmpfs in a mount namespace of its own, which needs no root and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SIZE = "48m"


def run_on_small_disk(module: str, function: str, mount: Path) -> str:
    """Run `module.function(mount)` in a process of its own with a tmpfs at `mount`. What it printed."""
    code = (
        "import importlib, pathlib, subprocess; "
        f"subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size={SIZE}', 'tmpfs', {str(mount)!r}], check=True); "
        f"importlib.import_module({module!r}).{function}(pathlib.Path({str(mount)!r}))"
    )
    result = subprocess.run(
        ["unshare", "--mount", "--map-root-user", sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
