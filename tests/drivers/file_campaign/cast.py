"""Gateway and feeder, and what is compared in the end."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from edge.demo.nodes import NodeError, NodeProcess
from storage import SegmentStore
from tests.drivers.file_campaign.feeder import Directory, Feeder, Log
from tests.drivers.judging import Sent, Verdict, judge
from tests.drivers.lives import CAME_WITHIN_S
from tests.oracle.aim import Target, node_command

REACHED_WITHIN_S = 8.0
OTHER_FILE_SYSTEM = Path("/dev/shm")


def gateway_toml(folder: Path, directories: dict[str, Directory], logs: dict[str, Log]) -> str:
    lines = ["[node]", 'name = "pump-7"', f"data_dir = {json.dumps(str(folder))}"]
    lines += [f"socket = {json.dumps(str(folder / 'edge.sock'))}"]
    for name, directory in directories.items():
        lines += ["[[source]]", f'name = "{name}"', 'driver = "file"', f'stream = "{name}"', 'key = "{topic}"']
        lines += [
            f"directory = {json.dumps(str(directory.folder))}",
            f"completed = {json.dumps(str(directory.completed))}",
        ]
        lines += ['min_age = "0s"', 'interval = "50ms"', 'order = "name"']
    for name, log in logs.items():
        lines += ["[[source]]", f'name = "{name}"', 'driver = "follow"', f'stream = "{name}"']
        lines += [f"path = {json.dumps(str(log.path))}", 'settle = "300ms"']
    return "\n".join([*lines, ""])


class Cast:
    """Everybody, in `folder`."""

    def __init__(self, folder: Path, random: Random, command: Callable[[Path], Sequence[str]] | None = None) -> None:
        apart = OTHER_FILE_SYSTEM.is_dir() and OTHER_FILE_SYSTEM.stat().st_dev != folder.parent.stat().st_dev
        self.far = Path(tempfile.mkdtemp(prefix="edge-files-", dir=OTHER_FILE_SYSTEM)) if apart else folder / "far"
        self.directories = {
            "beside": Directory(folder / "beside", folder / "beside" / "completed"),
            "apart": Directory(folder / "apart", self.far / "completed"),
        }
        logs_folder = folder / "logs"
        self.logs = {
            "renamed": Log(logs_folder / "renamed.log", False),
            "copied": Log(logs_folder / "copied.log", True),
        }
        for made in (logs_folder, *(directory.folder for directory in self.directories.values())):
            made.mkdir(parents=True, exist_ok=True)
        gateway = folder / "gateway"
        toml = gateway_toml(gateway, self.directories, self.logs)
        self.node = NodeProcess(gateway, toml, (command or node_command)(gateway))
        self.target = Target("files", self.node, Random(random.random()), reached_within_s=REACHED_WITHIN_S)
        self.feeder = Feeder([*self.directories.values()], [*self.logs.values()], Random(random.random()))

    def start(self) -> None:
        """Returns when the logs are followed: what was rotated before that is not owed."""
        self.feeder.start()
        self.node.start()
        self.node.ready(CAME_WITHIN_S)
        deadline_s = time.monotonic() + CAME_WITHIN_S
        while not all(source.events for source in self.node.client.status().sources):
            if time.monotonic() > deadline_s:
                raise NodeError(f"nothing came of the files: {self.node.log_end()}")
            time.sleep(0.05)
        self.feeder.rotates.set()

    def close(self) -> None:
        self.feeder.stop()
        self.node.kill()
        if self.far.parent == OTHER_FILE_SYSTEM:
            shutil.rmtree(self.far)

    def drain(self) -> list[str]:
        """No more is put. Wait until all has gone; what has not."""
        self.feeder.stop()
        if self.feeder.error is not None:
            return [f"the feeder ended: {self.feeder.error!r}"]
        deadline_s = time.monotonic() + CAME_WITHIN_S
        while time.monotonic() < deadline_s:
            left_behind = any(directory.left_behind() for directory in self.directories.values())
            if not left_behind and all(map(self._has_last, self.logs)):
                return []
            time.sleep(0.1)
        left = [
            f"{name}: left behind: {each.left_behind()[:5]}"
            for name, each in self.directories.items()
            if each.left_behind()
        ]
        return [*left, f"not all came within {CAME_WITHIN_S:.0f} s: {self.node.log_end(3)}"]

    def _has_last(self, name: str) -> bool:
        """The last line of a log is in the store."""
        last = self.logs[name].lines[-1:]
        return not last or any(event.payload == last[0].payload for event in self.node.client.read(name, start="10m"))

    def stored(self) -> dict[str, dict[str, list[bytes]]]:
        """Payloads by stream and routing key. The gateway is down."""
        held: dict[str, dict[str, list[bytes]]] = {}
        with SegmentStore.open(self.node.store) as store:
            for stream in (*self.directories, *self.logs):
                of_stream = held.setdefault(stream, {})
                for event in store.read(stream, follow=False):
                    of_stream.setdefault(event.routing_key, []).append(event.payload)
        return held


def judge_directory(directory: Directory, held: dict[str, list[bytes]]) -> Verdict:
    """Name by name, as one."""
    sent: list[Sent] = []
    stored: list[bytes] = []
    for name in sorted({*directory.sent, *held}):
        sent += directory.sent.get(name, [])
        stored += held.get(name, [])
    return judge(sent, stored)


def folder_problems(name: str, directory: Directory) -> list[str]:
    """What lies where files go that should not, and what does not."""
    wanted: dict[Path, Counter[bytes]] = {directory.completed: Counter(), directory.folder / "failed": Counter()}
    for puts in directory.put.values():
        for put in puts:
            wanted[directory.completed if put.good else directory.folder / "failed"][put.content] += 1
    problems = []
    for folder, contents in wanted.items():
        there = sorted(folder.iterdir()) if folder.exists() else []
        reasons = {path.name.removesuffix(".reason") for path in there if path.suffix == ".reason"}
        files = {path.name: path.read_bytes() for path in there if path.suffix != ".reason"}
        missing, surplus = contents - Counter(files.values()), Counter(files.values()) - contents
        if missing or surplus:
            odd = [file for file, content in files.items() if content in surplus]
            problems.append(
                f"{name}: in {folder.name} {missing.total()} are missing, {surplus.total()} too many: {odd[:5]}"
            )
        without = set(files) ^ reasons if folder.name == "failed" else reasons
        if without:
            problems.append(f"{name}: in {folder.name} files and reasons do not match: {sorted(without)[:5]}")
    return problems
