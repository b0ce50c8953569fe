"""The devices of the campaign: how they publish, and what they forget."""

from __future__ import annotations

from dataclasses import dataclass

EQUAL = b"12.7"


@dataclass(frozen=True, slots=True)
class Habit:
    """How a device publishes. `smallest_id`: it uses the lowest packet id that is free; otherwise it counts them up."""

    version: int = 4
    qos: int = 1
    window: int = 20
    smallest_id: bool = False
    equal: bool = False
    """All of its readings are."""
    clean: bool = False
    """Its session ends with the connection; it repeats nevertheless what had no answer, as many do."""
    forgetful: bool = False
    """After a crash it begins with packet id 1 and repeats nothing; its session at the gateway is still there."""
    alias: bool = False
    """It names its topic once in a connection (MQTT 5, 3.3.2.3.4)."""


HABITS = {
    "3-qos1": Habit(),
    "5-qos1": Habit(version=5, alias=True),
    "3-qos2": Habit(qos=2, window=10),
    "5-qos2": Habit(version=5, qos=2, window=10, smallest_id=True),
    "equal-qos1": Habit(equal=True),
    "equal-qos2": Habit(qos=2, window=1, smallest_id=True, equal=True),
    "forgetful": Habit(version=5, forgetful=True),
    "clean": Habit(clean=True),
}


def topic(name: str) -> str:
    return f"site/{name}"


def payload(name: str, number: int) -> bytes:
    """What the device `name` says as its `number`."""
    return EQUAL if HABITS[name].equal else f"{name} {number}".encode()
