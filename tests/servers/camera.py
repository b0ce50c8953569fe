"""Real cameras on the loopback address: GStreamer's encoders and its RTSP server, from Debian's packages; and ffmpeg."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

from tests.servers.cache import debian_package
from tests.servers.process import ServerProcess

PACKAGES = (
    "ffmpeg",
    "python3-gi",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-ugly",
)
SAME_S = 2e-4
"""A client's clock counts 90,000 a second."""
SERVER = Path(__file__).with_name("rtsp_server.py")


def ffmpeg(program: str = "ffmpeg") -> tuple[Path, dict[str, str]]:
    """`ffmpeg` or `ffprobe`, and the environment to run it in. Raises ServerMissingError.

    It comes with GStreamer, with which it shares most of its libraries.
    """
    found, environment = debian_package("gir1.2-gst-rtsp-server-1.0", "usr/bin/ffmpeg", *PACKAGES)
    return found.with_name(program), environment


def _gstreamer() -> dict[str, str]:
    """The environment in which the system's Python finds GStreamer. Raises ServerMissingError."""
    found, environment = ffmpeg()
    root = found.parents[2]
    # What is installed on the machine is not fetched, so both places are looked at.
    plugins = [*root.glob("usr/lib/*/gstreamer-1.0"), *Path("/usr/lib").glob("*/gstreamer-1.0")]
    typelibs = root.glob("usr/lib/*/girepository-1.0")
    return environment | {
        "GST_PLUGIN_SYSTEM_PATH": os.pathsep.join(map(str, plugins)),
        "GI_TYPELIB_PATH": os.pathsep.join(map(str, typelibs)),
        "PYTHONPATH": str(root / "usr/lib/python3/dist-packages"),
        "GST_REGISTRY": str(root / "registry.bin"),
        "GST_REGISTRY_FORK": "no",
    }


def _python() -> Path:
    """Debian's own, for which its bindings are made."""
    system = Path("/usr/bin/python3")
    return system if system.exists() else ffmpeg()[0].with_name("python3")


@dataclass(frozen=True, slots=True)
class Encoder:
    """One camera of a server, at rtsp://…/`path`. `codec` is h264, h265 or mjpeg, `key_every` in frames."""

    path: str = "cam"
    codec: str = "h264"
    width: int = 320
    height: int = 240
    rate: int = 10
    key_every: int = 10
    bitrate_kbps: int = 500
    pattern: str = "ball"
    """Of GStreamer's videotestsrc, with its properties."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A frame as an encoder gave it."""

    pts_ns: int
    size_bytes: int


class RtspCameras(ServerProcess):
    """A server with `encoders`. They run while somebody looks. `password`: whoever looks has to give (user, password)."""

    name = "rtsp-server"

    def __init__(self, folder: Path, *encoders: Encoder, password: tuple[str, str] | None = None) -> None:
        super().__init__(folder)
        self._encoders = encoders or (Encoder(),)
        self._password = password

    def url(self, path: str = "cam") -> str:
        return f"rtsp://127.0.0.1:{self.port}/{path}"

    def command(self) -> tuple[Sequence[str | Path], Mapping[str, str]]:
        asked = {
            "port": self.port,
            "log": str(self._encoded),
            "cameras": [asdict(encoder) for encoder in self._encoders],
            "password": self._password,
        }
        return [_python(), SERVER, json.dumps(asked)], _gstreamer()

    def resize(self, width: int, height: int, path: str = "cam") -> None:
        """Another picture size from now on, in the same stream."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"size {path} {width} {height}\n".encode())
        self._process.stdin.flush()

    def encoded(self, path: str = "cam") -> list[Encoded]:
        """Every frame that this encoder has given, whoever looked."""
        if not self._encoded.exists():
            return []
        lines = [line.split() for line in self._encoded.read_text(encoding="ascii").splitlines()]
        frames = [Encoded(int(pts_ns), int(size)) for camera, pts_ns, size in lines if camera == path]
        # The first is given twice: once for the server to see its form.
        return [
            frame for frame, later in zip_longest(frames, frames[1:]) if later is None or frame.pts_ns != later.pts_ns
        ]

    @property
    def _encoded(self) -> Path:
        return self.folder / "encoded.log"


def matching(seen_s: Sequence[float], encoded_s: Sequence[float]) -> int | None:
    """Where among the encoder's times those of a client begin, whose clock begins elsewhere. None: some are missing."""
    for begin in range(len(encoded_s) - len(seen_s) + 1):
        apart_s = encoded_s[begin] - seen_s[0]
        if all(
            abs(seen + apart_s - encoded) < SAME_S for seen, encoded in zip(seen_s, encoded_s[begin:], strict=False)
        ):
            return begin
    return None
