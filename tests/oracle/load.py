"""`python -m tests.oracle.load DIRECTORY [GENERATION_BYTES]`: writes numbered events to a store until it is killed.

A line on standard output for every hundred commits.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import storage.committer
from edge.demo.numbering import stamp
from storage import Append, Frame, SegmentStore, StreamConfig

STREAMS = ("plant/flow", "plant/level", "site/north", "site/south")
MOST_EVENTS = 12
"""In one append."""


def main(directory: Path) -> None:
    random = Random(1)
    numbers: dict[str, int] = {}
    with SegmentStore.open(directory) as store:
        for stream in STREAMS:
            store.create_stream(stream, StreamConfig())
            last = store.last_number(stream, "load")
            numbers[stream] = 0 if last is None else last + 1
        commits = 0
        while True:
            appends = []
            for stream in random.sample(STREAMS, random.randint(1, len(STREAMS))):
                count = random.randint(1, MOST_EVENTS)
                payloads = [stamp(stream, number) for number in range(numbers[stream], numbers[stream] + count)]
                frame = Frame(payloads, routing_key=stream, writer="load", number=numbers[stream])
                appends.append(Append(stream, [frame]))
                numbers[stream] += count
            store.submit(appends, {"load": str(numbers).encode()}).result()
            commits += 1
            if commits % 100 == 0:
                print(commits, flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        storage.committer.GENERATION_BYTES = int(sys.argv[2])
    main(Path(sys.argv[1]))
