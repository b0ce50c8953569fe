"""What cameras there are, and what one of them sends: looked at in a process of its own, as when capturing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from drivers.camera import records
from drivers.camera.child import Child
from drivers.camera.config import CameraConfig, check, make_job, shown
from drivers.camera.continuity import NS
from drivers.camera.packet import Packet
from drivers.contract import DeviceLostError, Found
from storage.clock import Clock

SOURCE = "probe"
KEY_FRAMES = 4
"""Enough to see how far apart they are."""
WAIT_S = 0.25

_PASSWORD_IN_QUERY = re.compile(r"((?:password|passwd|pass|pwd|token)=)[^&_]*", re.IGNORECASE)


def probe(clock: Clock, *, at: str | None = None, timeout_s: float = 10.0) -> Iterator[Found]:
    """USB cameras that are plugged in, or the camera `at` a URL, a device or a file (`drivers.contract.Probe`).

    The sample names codec, size, rate and the time between key frames. No password is in what is found.
    """
    if at is not None:
        config = CameraConfig(device=at) if at.startswith("/dev/") else CameraConfig(url=at)
        check(config, SOURCE)
        yield _found(config, _look(config, clock, timeout_s))
        return
    for device, name in _usb_cameras():
        config = CameraConfig(device=device)
        try:
            yield _found(config, _look(config, clock, timeout_s), name)
        except DeviceLostError as error:
            yield Found(device=device, settings={"device": device}, sample=f"{name}: {error}")


def _usb_cameras() -> Iterator[tuple[str, str]]:
    """Path and name of each. By the name that it keeps in another socket, where it has one."""
    stable = {path.resolve(): path for path in sorted(Path("/dev/v4l/by-id").glob("*"), reverse=True)}
    for entry in sorted(Path("/sys/class/video4linux").glob("video*")):
        device = Path("/dev") / entry.name
        yield str(stable.get(device, device)), (entry / "name").read_text(encoding="utf-8", errors="replace").strip()


def _look(config: CameraConfig, clock: Clock, timeout_s: float) -> list[Packet]:
    """What it sends, up to some key frames. Raises DeviceLostError where it can't be opened or sends nothing."""
    packets: list[Packet] = []
    until_ns = clock.boot_ns() + int(timeout_s * NS)
    child = Child(make_job(config, SOURCE, "start"))
    ended = False
    try:
        while not ended and clock.boot_ns() < until_ns and sum(packet.key_frame for packet in packets) < KEY_FRAMES:
            for kind, body in child.records(WAIT_S):
                if kind == records.PACKET:
                    packets.append(records.packet_of(body))
                elif kind == records.ERROR and not packets:
                    raise DeviceLostError(f"{shown(config)}: {body.decode(errors='replace')}")
                ended = ended or kind in (records.ERROR, records.END)
    except (EOFError, ValueError) as error:
        raise DeviceLostError(f"{shown(config)}: it can't be read: {child.how_it_ended()}") from error
    finally:
        child.close(hangs=not packets)
    if not packets:
        raise DeviceLostError(f"{shown(config)}: nothing came in {timeout_s:g} s: check its power and its address")
    return packets


def _found(config: CameraConfig, packets: list[Packet], name: str = "") -> Found:
    settings = {"url": _without_password(config.url)} if config.url else {"device": config.device}
    sample = _described(packets)
    return Found(device=shown(config), settings=settings, score=1.0, sample=f"{name}: {sample}" if name else sample)


def _described(packets: list[Packet]) -> str:
    words = [packets[0].codec, "{}x{}".format(*packets[0].size)]
    if len(packets) > 2 and packets[0].pts is None and packets[1].pts is not None:
        packets = packets[1:]  # over RTSP the first comes before the camera has told what its clock stands at
    first, last = packets[0], packets[-1]
    length_s = _apart_s(first, last)
    if length_s > 0:
        words.append(f"{(len(packets) - 1) / length_s:.3g} frames/s")
    keys = [packet for packet in packets if packet.key_frame]
    if len(keys) == len(packets):
        words.append("every frame a key frame")
    elif len(keys) > 1:
        words.append(f"a key frame every {_apart_s(keys[0], keys[-1]) / (len(keys) - 1):.2g} s")
    else:
        words.append("one key frame")
    return ", ".join(words)


def _apart_s(first: Packet, last: Packet) -> float:
    """By the camera's clock, or ours where it has none."""
    if first.pts is not None and last.pts is not None:
        return float((last.pts - first.pts) * first.base)
    return (last.captured_ns - first.captured_ns) / NS


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}{at}{host}"
    return _PASSWORD_IN_QUERY.sub(r"\1***", parts._replace(netloc=netloc).geturl())
