"""What happens, in which order. Says each turn to `show`, and shows where everything stands in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from edge.demo.link import LinkMode
from edge.demo.scene import GATEWAY, Scene, Track
from edge.demo.verdict import Verdict
from edge.errors import EdgeError
from edge.snapshot import NodeSnapshot

TOTAL_S = 90.0
"""The whole demo, whatever happens."""
COMPARE_S = 10.0
"""Kept back from it for the comparison."""
LOOK_EVERY_S = 0.5
FIRST_S = 10.0
"""For every source to bring something."""
FIRST_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Standing:
    """One source now, in events: `upstream` as far as the hub has told."""

    name: str
    kind: str
    sent: int
    safe: int
    upstream: int


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that the screen shows at one moment."""

    elapsed_s: float
    gateway: str
    link: str
    hub: str
    sources: tuple[Standing, ...]


class Show(Protocol):
    """Where the story is told."""

    def say(self, elapsed_s: float, text: str) -> None:
        """Something happens."""

    def look(self, picture: Picture) -> None:
        """Where everything stands; often."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended. `troubles` are what went wrong beside the counts."""

    verdicts: dict[str, Verdict]
    troubles: tuple[str, ...]
    elapsed_s: float
    kinds: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.troubles and all(verdict.clean for verdict in self.verdicts.values())


class Story:
    """Plays on `scene`, `seconds` long without start, drain and comparison."""

    def __init__(self, scene: Scene, show: Show, seconds: float, began_s: float) -> None:
        self._scene = scene
        self._show = show
        self._unit_s = seconds / 20
        self._began_s = began_s
        self._upstream: dict[str, int] = {}

    def play(self) -> Outcome:
        scene = self._scene
        troubles: list[str] = []
        self._start()
        self._capture()
        self._cut_and_kill()
        troubles += self._drain()
        self._say("Comparing what each source was told is safe with what the hub holds.")
        troubles += scene.failures()
        verdicts: dict[str, Verdict] = {}
        for track in scene.tracks:
            try:
                verdicts[track.name] = scene.verdict(track)
            except EdgeError as error:
                troubles.append(f"{track.name} can't be compared: {error}")
        troubles += [f"{name}: {example}" for name, made in verdicts.items() for example in made.examples[:3]]
        kinds = {track.name: track.kind for track in scene.tracks}
        return Outcome(verdicts, tuple(troubles), self._elapsed_s(), kinds)

    def _start(self) -> None:
        scene = self._scene
        self._say("Starting a hub and a gateway, each a process of its own.")
        scene.hub.start()
        scene.gateway.start()
        scene.hub.ready()
        scene.gateway.ready()
        scene.start_feeds()

    def _capture(self) -> None:
        names = ", ".join(track.kind for track in self._scene.tracks)
        self._say(f"Capturing: {names}. Everything is on disk before it is acknowledged.")
        self._await_all()
        self._watch(5)

    def _cut_and_kill(self) -> None:
        scene = self._scene
        scene.link.set(LinkMode.CUT)
        self._say("The link to the hub is cut. Capture goes on; the backlog waits on the gateway's disk.")
        self._watch(5)
        victim = scene.gateway.pid
        scene.gateway.kill()
        self._say(f"SIGKILL to the gateway (process {victim}), in the middle of its work.")
        self._watch(1)
        scene.gateway.start()
        scene.gateway.ready()
        again = self._scene.gateway.client.status()
        self._say(
            f"The gateway is back (process {scene.gateway.pid}, opening {again.store.opening} of its store), the link is not. "
            "It captures at once; what instrument and camera showed meanwhile is gone."
        )
        self._watch(4)
        scene.link.set(LinkMode.UP)
        self._say("The link is back. Nobody touches anything: the gateway finds out by itself.")
        self._watch(5)

    def _await_all(self) -> None:
        """A camera takes a moment to be opened: the story goes on when something of every source is safe."""
        deadline_s = time.monotonic() + FIRST_S
        while not all(track.told() for track in self._scene.tracks) and time.monotonic() < deadline_s:
            self._look()
            time.sleep(FIRST_LOOK_S)

    def _drain(self) -> list[str]:
        scene = self._scene
        self._say("The sources fall silent. What is still on its way arrives.")
        scene.stop_feeds()
        deadline_s = self._began_s + TOTAL_S - COMPARE_S
        while True:
            missing = scene.wait_until_drained(min(LOOK_EVERY_S, max(0.0, deadline_s - time.monotonic())))
            self._look()
            if missing is None:
                return []
            if time.monotonic() >= deadline_s:
                return [f"not everything arrived in time: {missing}"]

    def _watch(self, units: float) -> None:
        """Let time pass, and show it."""
        until_s = time.monotonic() + units * self._unit_s
        while (left_s := until_s - time.monotonic()) > 0:
            self._look()
            time.sleep(min(LOOK_EVERY_S, left_s))

    def _say(self, text: str) -> None:
        self._show.say(self._elapsed_s(), text)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began_s

    def _look(self) -> None:
        scene = self._scene
        hub = _status(scene.hub.client.status) if scene.hub.alive else None
        if hub is not None:
            self._upstream = {stream.name: stream.events for stream in hub.streams}
        gateway = _status(scene.gateway.client.status) if scene.gateway.alive else None
        self._show.look(
            Picture(
                self._elapsed_s(),
                "running" if gateway is not None else "killed" if not scene.gateway.alive else "starting",
                _link(scene.link.mode, gateway),
                "running" if hub is not None else "down",
                tuple(self._standing(track) for track in scene.tracks),
            )
        )

    def _standing(self, track: Track) -> Standing:
        upstream = sum(self._upstream.get(f"{GATEWAY}/{stream}", 0) for stream in track.streams)
        safe = sum(len(numbers) for numbers in track.told().values())
        return Standing(track.name, track.kind, sum(track.sent.values()), safe, upstream)


def _status(ask: Callable[[], NodeSnapshot]) -> NodeSnapshot | None:
    try:
        return ask()
    except EdgeError:
        return None


def _link(mode: LinkMode, gateway: NodeSnapshot | None) -> str:
    """What the cable is, and what the gateway makes of it."""
    state = gateway.uplinks[0].state.lower() if gateway is not None and gateway.uplinks else ""
    return "cut" if mode is not LinkMode.UP else state or "up"
