"""`python -m tests.bench [NAME …]`"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench import append, bulk, camera, drain, files, growth, limit, listener, memory, mqtt, video
from tests.bench.figures import Printed

BENCHES: dict[str, Callable[[Path], Iterable[Printed]]] = {
    "append": append.figures,
    "bulk": bulk.figures,
    "mqtt": mqtt.figures,
    "listener": listener.figures,
    "drain": drain.figures,
    "memory": memory.figures,
    "growth": growth.figures,
    "limit": limit.figures,
    "files": files.figures,
    "camera": camera.figures,
    "video": video.figures,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all of them unless named")
    names: list[str] = parser.parse_args().names or list(BENCHES)
    unknown = set(names) - set(BENCHES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(BENCHES)}")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}{': something else runs beside this' if load > 0.5 else ''}\n")
    for name in names:
        with tempfile.TemporaryDirectory(prefix=f"edge-bench-{name}-") as folder:
            for figure in BENCHES[name](Path(folder)):
                print(figure.text(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
