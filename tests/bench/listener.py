"""Publishers straight to the gateway, beside mosquitto and NATS JetStream: what each acknowledges in a second, and how late.

The three run side by side on one core and are measured in turn by one generator on another core (`tests.bench.mqtt_load`).
What an acknowledgement means differs: the gateway's and NATS' (`sync_interval: always`) leave after an fsync, mosquitto's
from memory.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from drivers.listener.passwords import set_password
from edge.demo.nodes import NodeProcess
from tests.bench.figures import Printed, memory_bytes
from tests.bench.mqtt_load import PASSWORD, USER, Seen
from tests.oracle.aim import ROOT
from tests.servers.cache import ServerMissingError
from tests.servers.mosquitto import Mosquitto
from tests.servers.nats import Nats
from tests.servers.process import ServerProcess, free_port

SERVER_CORE, GENERATOR_CORE = (sorted(os.sched_getaffinity(0)) * 2)[:2]
SHAPES = ((1, 20), (10, 20), (100, 20), (100, 1), (500, 1))
"""Publishers, and messages that each has in flight."""
SIZES_BYTES = (100, 1000)
PACED_SHAPES = ((100, 20), (100, 1))
ROUNDS = 3
BARE_SYNCS = 2_000
BARE_BYTES = 16 << 10
OPEN_FILES = 8_192
IDLE_CLIENTS = 1_000
IDLE_S = 10.0
SICK_PER_S = 2_000.0
"""Of 100 publishers together, beside one that floods and one that never reads."""
GENERATOR_TIMEOUT_S = 120.0

GATEWAY, MOSQUITTO, NATS = "gateway", "mosquitto", "nats"


@dataclass(frozen=True, slots=True)
class Server:
    """One that listens. `pid` for its CPU time and memory."""

    name: str
    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Row:
    """What one server did under one load, with the ratios to the others under the same."""

    load: str
    server: str
    seen: Seen
    cpu_us: float
    """CPU time of the server for each message."""
    beside: Mapping[str, float]

    def text(self) -> str:
        ratios = ", ".join(f"{ratio:.2f} of {name}" for name, ratio in self.beside.items())
        return (
            f"{self.load:24}{self.server:10}{self.seen.per_s:10,.0f} PUBACK/s  p50 {self.seen.p50_ms:8.2f}  "
            f"p99 {self.seen.p99_ms:8.2f} ms  {self.cpu_us:6.1f} us CPU  {ratios}"
        ).rstrip()


@dataclass(frozen=True, slots=True)
class Line:
    """A figure that stands alone, or what could not be measured."""

    line: str

    def text(self) -> str:
        return self.line


def figures(folder: Path) -> Iterator[Printed]:
    """All loads; what is missing is named first."""
    _allow_open_files()
    with ExitStack() as stack:
        servers, missing = _start(stack, folder)
        yield from (Line(line) for line in missing)
        # First: memory that a load has left free would hide what connections take.
        yield _idle(servers[0])
        peaks_per_s: dict[tuple[int, int], float] = {}
        for size_bytes in SIZES_BYTES:
            for publishers, window in SHAPES:
                rows = list(_compared(servers, publishers, window, size_bytes))
                yield from rows
                if size_bytes == SIZES_BYTES[0]:
                    peaks_per_s[publishers, window] = rows[0].seen.per_s
        for shape in PACED_SHAPES:
            yield from _paced(servers[:2], shape, peaks_per_s[shape] / 2)
        yield _bare_sync(folder)
        yield from _beside_sick(servers[0])


def _start(stack: ExitStack, folder: Path) -> tuple[list[Server], list[str]]:
    """Those that are to be had, the gateway first, and a line for each that is not."""
    servers: list[Server] = []
    missing: list[str] = []
    others: Sequence[tuple[str, ServerProcess]] = (
        (MOSQUITTO, Mosquitto(folder / MOSQUITTO, settings=("log_type none",))),
        (NATS, Nats(folder / NATS)),
    )
    with on_core(SERVER_CORE):
        servers.append(_gateway(stack, folder / GATEWAY))
        for name, process in others:
            try:
                stack.enter_context(process)
            except ServerMissingError as error:
                missing.append(f"not measured: {name}: {error}")
                continue
            assert process.pid is not None
            servers.append(Server(name, process.port, process.pid))
    return servers, missing


def _gateway(stack: ExitStack, folder: Path) -> Server:
    """It asks for a password, and allows some topics alone."""
    port = free_port()
    node = NodeProcess(
        folder,
        f"""
[node]
name = "bench"
data_dir = "{folder}"
socket = "{folder}/edge.sock"

[[source]]
name = "local"
driver = "mqtt-listener"
listen = "127.0.0.1:{port}"
passwords = "{folder}/passwords"
allow = {{ {USER.decode()} = ["site/+/telemetry"] }}
stream = "devices/{{0}}"
key = "{{topic}}"
""",
    )
    set_password(folder / "passwords", USER.decode(), PASSWORD)
    stack.callback(node.kill)
    node.start()
    node.ready()
    assert node.pid is not None
    return Server(GATEWAY, port, node.pid)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes started meanwhile run on this core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _allow_open_files() -> None:
    """For this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))


def _generator(port: int, options: Mapping[str, float]) -> list[str]:
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [sys.executable, "-m", "tests.bench.mqtt_load", str(port), "--core", str(GENERATOR_CORE), *given]


def generate(port: int, **options: float) -> Seen:
    """Run the generator against `port`. Raises RuntimeError with what it said where it fails."""
    command = _generator(port, {name.replace("_", "-"): value for name, value in options.items()})
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=GENERATOR_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"the generator failed: {done.stderr.strip()[-1000:]}")
    return Seen(**json.loads(done.stdout))


def _compared(servers: Sequence[Server], publishers: int, window: int, size_bytes: int) -> list[Row]:
    """A row for each server, of the round in which the first came out in the middle beside the second."""
    rounds = [_round(servers, publishers, window, size_bytes) for _ in range(ROUNDS)]
    return sorted(rounds, key=lambda rows: next(iter(rows[0].beside.values()), rows[0].seen.per_s))[ROUNDS // 2]


def _round(servers: Sequence[Server], publishers: int, window: int, size_bytes: int) -> list[Row]:
    load = f"{publishers} x {window}, {size_bytes} bytes"
    rates: dict[str, float] = {}
    rows: list[tuple[Server, Seen, float]] = []
    for server in servers:
        before_s = _cpu_s(server.pid)
        seen = generate(server.port, publishers=publishers, window=window, size_bytes=size_bytes)
        rows.append((server, seen, (_cpu_s(server.pid) - before_s) * 1e6 / max(1, seen.acknowledged)))
        rates[server.name] = seen.per_s
    first = rates[servers[0].name]
    beside = {name: first / rate for name, rate in rates.items() if name != servers[0].name and rate}
    return [
        Row(load, server.name, seen, cpu_us, beside if server is servers[0] else {}) for server, seen, cpu_us in rows
    ]


def _paced(servers: Sequence[Server], shape: tuple[int, int], per_s: float) -> Iterator[Printed]:
    """Each at the same rate: what the others take is what the machine and the generator take."""
    publishers, window = shape
    for server in servers:
        seen = generate(server.port, publishers=publishers, window=window, per_s=per_s)
        yield Line(
            f"{server.name}: {publishers} publishers, {window} at a time, at half of the gateway's peak: "
            f"{seen.per_s:,.0f} PUBACK/s, p50 {seen.p50_ms:.2f} ms, p99 {seen.p99_ms:.2f} ms"
        )


def _bare_sync(folder: Path) -> Printed:
    """How long the disk itself takes: no acknowledgement can leave earlier."""
    taken_ms = []
    with (folder / "bare").open("wb", buffering=0) as file:
        for _ in range(BARE_SYNCS):
            began_s = time.perf_counter()
            file.write(b"x" * BARE_BYTES)
            os.fdatasync(file.fileno())
            taken_ms.append((time.perf_counter() - began_s) * 1e3)
    taken_ms.sort()
    return Line(
        f"bare write+fdatasync of {BARE_BYTES >> 10} KiB, one after the other: p50 {taken_ms[BARE_SYNCS // 2]:.2f} ms, "
        f"p99 {taken_ms[BARE_SYNCS * 99 // 100]:.2f} ms"
    )


def _beside_sick(server: Server) -> Iterator[Printed]:
    for said, sick in (
        ("alone", {}),
        ("beside one that floods", {"flooders": 1}),
        ("beside one that floods and never reads", {"deaf": 1}),
    ):
        seen = generate(server.port, publishers=100, window=1, per_s=SICK_PER_S, **sick)
        yield Line(
            f"{server.name}: 100 publishers, {SICK_PER_S:,.0f} messages/s {said}: p50 {seen.p50_ms:.2f} ms, "
            f"p99 {seen.p99_ms:.2f} ms"
        )


def _idle(server: Server) -> Printed:
    """What connections cost that only ping every 30 s."""
    before_bytes = memory_bytes(server.pid, "VmRSS")
    before_s = _cpu_s(server.pid)
    time.sleep(IDLE_S)
    alone_s = _cpu_s(server.pid) - before_s
    with subprocess.Popen(
        _generator(server.port, {"idle": IDLE_CLIENTS}), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as clients:
        assert clients.stdin is not None and clients.stdout is not None
        said = clients.stdout.readline()
        time.sleep(1.0)
        with_bytes = memory_bytes(server.pid, "VmRSS")
        before_s = _cpu_s(server.pid)
        time.sleep(IDLE_S)
        with_s = _cpu_s(server.pid) - before_s
        clients.stdin.close()
    if not said:
        return Line(f"{server.name}: {IDLE_CLIENTS:,} connections at once: not all were accepted")
    return Line(
        f"{server.name}: {IDLE_CLIENTS:,} idle connections, made at once in {json.loads(said)['connected_s']:.1f} s: "
        f"{(with_bytes - before_bytes) / IDLE_CLIENTS / 1024:.1f} KiB each, "
        f"{100 * with_s / IDLE_S:.1f} % of a core (without them {100 * alone_s / IDLE_S:.1f} %)"
    )


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
