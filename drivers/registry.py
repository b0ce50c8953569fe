"""The drivers by name. A driver's module, and the library it needs, is loaded when its name is first asked for."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import cast

from drivers.contract import DriverClass, Probe, UnknownDriverError

DRIVERS = {
    "camera": "drivers.camera.driver:CameraDriver",
    "file": "drivers.file:FileDriver",
    "follow": "drivers.file:FollowDriver",
    "mqtt": "drivers.mqtt:MqttDriver",
    "mqtt-listener": "drivers.listener:ListenerDriver",
    "modbus": "drivers.serial.modbus:ModbusDriver",
    "replay": "drivers.replay:ReplayDriver",
    "serial": "drivers.serial:SerialDriver",
    "synthetic": "drivers.synthetic:SyntheticDriver",
}
"""Name in the configuration -> module:class."""


PROBES = {
    "serial": "drivers.serial.probing:probe",
    "camera": "drivers.camera.probing:probe",
}
"""Driver -> the function that looks for its devices."""


def driver_names() -> list[str]:
    return sorted(DRIVERS)


def driver_class(name: str) -> DriverClass:
    """The class registered under `name`. Raises UnknownDriverError, which names the nearest."""
    if name not in DRIVERS:
        near = get_close_matches(name, DRIVERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(driver_names())}"
        raise UnknownDriverError(f"no driver is called {name!r}: {hint}")
    return cast(DriverClass, _named(DRIVERS[name]))


def probed_names() -> list[str]:
    """The drivers whose devices can be looked for."""
    return list(PROBES)


def probe_of(name: str) -> Probe:
    """What looks for the devices of driver `name`, one of `probed_names()`."""
    return cast(Probe, _named(PROBES[name]))


def _named(place: str) -> object:
    module, _, attribute = place.partition(":")
    found: object = getattr(import_module(module), attribute)
    return found
