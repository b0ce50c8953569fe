"""The camera source's configuration, and what the capturing process is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from drivers.camera.gate import GateName, GateSettings, check_gate
from drivers.contract import DeviceLostError, DriverConfigError, config
from storage.units import Duration

SCHEMES = ("rtsp", "rtsps", "http", "https", "file")


@config
class CameraConfig:
    """A camera: RTSP, MJPEG over HTTP, USB (V4L2), or a video file in its place."""

    url: str = field(default="", repr=False)
    """`rtsp://user@host/path`, `http://…` of an MJPEG stream, or a video file, which is played at its own pace."""
    device: str = "/dev/video0"
    """A USB camera, where there is no `url`; prefer a name under /dev/v4l/by-id, which stays the same in another socket."""
    password_file: str = ""
    """A file that holds the password alone. The user's name stays in `url`."""
    transport: Literal["tcp", "udp"] = "tcp"
    """How RTSP brings the video. Over udp a weak network loses frames in place of delaying them."""
    stall_timeout: Duration = Duration(8)
    """A camera that brings nothing for so long is given up and opened again."""
    size: str = ""
    """Of a USB camera: the picture size to ask for, such as "1280x720". Unless given: the camera's own choice."""
    rate: int = 0
    """Of a USB camera: frames a second to ask for; 0: the camera's own choice."""
    input_format: str = ""
    """Of a USB camera: mjpeg, h264, yuyv422 … Unless given: mjpeg where it has that. Raw pictures are stored as JPEG."""
    loop: bool = False
    """Begin a file again when it has been played to its end."""
    gate: GateName = "none"
    """What is kept. "none": everything. "interval": one key frame every `every`, nothing is decoded. "time-lapse": one JPEG
    every `every`. "motion": what moves, and what came before and after. What it holds back is counted as gated."""
    every: Duration = Duration(60)
    """Of the gates interval and time-lapse: from one picture to the next."""
    motion_threshold: float = 20.0
    """Of the gate motion: by how many of 255 levels of brightness a spot must change. What this camera's noise does at night
    is known to it and comes on top."""
    motion_area: float = 0.002
    """Of the gate motion: the share of the picture that must have moved in one piece, 0 to 1."""
    pre_roll: Duration = Duration(5)
    """Of the gate motion: kept from before it. Longer than from one key frame to the next, since motion is looked for there;
    at most 32 MiB."""
    post_roll: Duration = Duration(10)
    """Of the gate motion: kept after the last of it."""

    @property
    def gate_settings(self) -> GateSettings:
        return GateSettings(
            self.gate, self.every, self.motion_threshold, self.motion_area, self.pre_roll, self.post_roll
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """What the capturing process opens, and how. Sent over its standard input, since it may hold a password.

    `format` names a demuxer of FFmpeg where that can't be left to it. `secrets` must stand in no message. `gathers`: the
    network keeps what is not read at once, in order. `paced`: give out frames no sooner than their time has come. `first`
    is the first frame's mark.
    """

    target: str = field(repr=False)
    format: str = ""
    options: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    first: str = "start"
    gathers: bool = False
    paced: bool = False
    loop: bool = False
    gate: GateSettings = field(default_factory=GateSettings)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_json(raw: bytes) -> Job:
        loaded = json.loads(raw)
        return Job(**loaded | {"secrets": tuple(loaded["secrets"]), "gate": GateSettings(**loaded["gate"])})

    def redacted(self, text: str) -> str:
        """`text` without what must not be seen."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def check(config: CameraConfig, source: str) -> None:
    """Raises DriverConfigError for what can't work. Never with the address in it: that may hold a password."""
    if not 1 <= config.stall_timeout <= 3600:
        raise DriverConfigError(f"source {source}: stall_timeout = {config.stall_timeout}: use 1s to 1h")
    try:
        check_gate(config.gate_settings)
    except DriverConfigError as error:
        raise DriverConfigError(f"source {source}: {error}") from error
    if not config.url:
        return
    try:
        parts = urlsplit(config.url)
        scheme, _, password = parts.scheme, parts.port, parts.password
    except ValueError:
        # What urlsplit says quotes parts of the address.
        raise DriverConfigError(
            f"source {source}: url is no address: write rtsp://user@host:554/path, with %-codes for special characters "
            "of the password, or put it into password_file"
        ) from None
    if scheme and scheme not in SCHEMES:
        raise DriverConfigError(
            f"source {source}: url begins with {scheme}: it may be of {', '.join(SCHEMES)}, or a file"
        )
    if scheme in SCHEMES[:4] and not parts.hostname:
        raise DriverConfigError(f"source {source}: url names no host: write rtsp://user@host:554/path")
    if config.password_file and (password is not None or not parts.username):
        raise DriverConfigError(
            f"source {source}: with password_file the url holds the user's name and no password: rtsp://user@host/path"
        )


def shown(config: CameraConfig) -> str:
    """The camera as messages name it. Host and port alone: in many an address the path or query holds a password."""
    if not config.url:
        return config.device
    parts = urlsplit(config.url)
    if parts.scheme in SCHEMES[:4]:
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    return config.url


def make_job(config: CameraConfig, source: str, first: str) -> Job:
    """What to open. Raises DeviceLostError where password_file can't be read: it may appear yet."""
    return replace(_job(config, source, first), gate=config.gate_settings)


def _job(config: CameraConfig, source: str, first: str) -> Job:
    if not config.url:
        options = {"video_size": config.size, "framerate": str(config.rate or ""), "input_format": config.input_format}
        return Job(config.device, "v4l2", {name: value for name, value in options.items() if value}, first=first)
    parts = urlsplit(config.url)
    if parts.scheme in ("", "file"):
        path = unquote(parts.path) if parts.scheme else config.url
        return Job(f"file:{path}", first=first, paced=True, loop=config.loop)
    url, secrets = config.url, [config.url]
    if config.password_file:
        password = _read_password(config.password_file, source)
        user, _, host = parts.netloc.rpartition("@")
        url = parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()
        secrets += [url, password, quote(password, safe="")]
    elif parts.password:
        secrets += [parts.password, unquote(parts.password)]
    # A path or query of a camera's address may hold a password too.
    secrets += [part for part in (parts.path.strip("/"), parts.query) if len(part) > 3]
    options = {"fpsprobesize": "0"}
    if parts.scheme in ("rtsp", "rtsps"):
        options |= {"rtsp_transport": config.transport, "allowed_media_types": "video"}
    gathers = config.transport == "tcp"
    return Job(url, options=options, secrets=tuple(secrets), first=first, gathers=gathers)


def _read_password(path: str, source: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceLostError(
            f"source {source}: password_file {path} can't be read ({error}): create it, readable by this user"
        ) from error
