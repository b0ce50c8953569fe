"""A camera's encoder and RTSP server, by GStreamer. A program of its own, run with the Python that has its bindings.

Its argument is JSON: `port`, `log` (a file), and `cameras`: for each a `path`, `codec`, `width`, `height`, `rate` (frames a
second), `key_every` (frames) and `bitrate_kbps`. For every frame that an encoder gives, a line goes to the log: path, time in
ns, size in bytes. A line on standard input changes a camera: `size PATH WIDTH HEIGHT`. It ends with its standard input.
"""

from __future__ import annotations

import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

ENCODERS = {
    "h264": "x264enc tune=zerolatency sliced-threads=false speed-preset=ultrafast key-int-max={key_every} bitrate={bitrate_kbps}"
    " ! rtph264pay name=pay0 config-interval=-1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={key_every} bitrate={bitrate_kbps}"
    " ! h265parse ! rtph265pay name=pay0 config-interval=-1",
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0",
}
LAUNCH = (
    "( videotestsrc is-live=true pattern={pattern} ! video/x-raw,format=I420,width={width},height={height},framerate={rate}/1"
    " ! videoscale ! capsfilter name=size caps=video/x-raw,width={width},height={height} ! %s pt=96 )"
)


def main() -> None:
    asked = json.loads(sys.argv[1])
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(str(asked["port"]))
    pipelines: dict[str, Gst.Element] = {}
    log = open(asked["log"], "a", buffering=1, encoding="ascii")  # noqa: PTH123, SIM115  (older Python, all its life)

    def watch(path: str, media: GstRtspServer.RTSPMedia) -> None:
        pipelines[path] = media.get_element()
        payloader = media.get_element().get_by_name("pay0")

        def encoded(_: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
            buffer = info.get_buffer()
            log.write(f"{path} {buffer.pts} {buffer.get_size()}\n")
            return Gst.PadProbeReturn.OK

        payloader.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, encoded)

    permissions = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", permission, True)
    for camera in asked["cameras"]:
        factory = GstRtspServer.RTSPMediaFactory.new()
        factory.set_launch((LAUNCH % ENCODERS[camera["codec"]]).format(**camera))
        factory.set_shared(True)
        factory.set_permissions(permissions)
        factory.connect("media-configure", lambda _, media, path: watch(path, media), camera["path"])
        server.get_mount_points().add_factory(f"/{camera['path']}", factory)
    if asked.get("password"):
        user, password = asked["password"]
        auth = GstRtspServer.RTSPAuth.new()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
    server.attach(None)
    loop = GLib.MainLoop()

    def told(channel: GLib.IOChannel, condition: GLib.IOCondition) -> bool:
        line = sys.stdin.readline().split()
        if not line:
            loop.quit()
            return False
        _, path, width, height = line
        caps = Gst.Caps.from_string(f"video/x-raw,width={width},height={height}")
        pipelines[path].get_by_name("size").set_property("caps", caps)
        return True

    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, told)
    loop.run()


main()
