"""What stands in the README, for the tests that run it."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code of that language, block by block."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def example(containing: str) -> str:
    """The one block of Python that contains so much."""
    (found,) = [text for text in blocks("python") if containing in text]
    return found


_FOLDER = TemporaryDirectory(prefix="edge-readme-")


@cache
def driver_module() -> ModuleType:
    """The README's driver as the module that it would be: with `UdpConfig` and `UdpDriver`."""
    file = Path(_FOLDER.name) / "udp.py"
    file.write_text(example("class UdpDriver"), encoding="utf-8")
    spec = spec_from_file_location("readme_udp", file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
