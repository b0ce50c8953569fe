"""`python -m tests.edge.forking`: runs the command `edge`, each time in a process of its own that has its imports behind it.

A line in is a list of arguments and a folder, which holds `0`, what the command reads; a line out is its exit code.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from edge.cli import main


def run(arguments: list[str], folder: Path) -> int:
    for descriptor, how in enumerate((os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)):
        os.dup2(os.open(folder / str(descriptor), how), descriptor)
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    for line in sys.stdin:
        asked, where = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(run(asked, Path(where)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
