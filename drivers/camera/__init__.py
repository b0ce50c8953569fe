"""The camera driver: video into a bulk stream, as the camera encoded it. This docstring is the specification.

What a camera's stream holds
    One event for each encoded frame, in the order in which the camera sent them (decoding order). The payload is the
    packet as the demuxer gave it, untouched. The content type names the codec: `video/h264`, `video/h265`, `image/jpeg`.
    `Frame.key_frame` marks those that video can be decoded from, so `Store.key_frame_before` finds them by time.

Headers (`drivers.camera.packet` writes and reads them)
    video.pts, video.dts  the camera's own clock, in units of `video.base`; absent where the camera gave none
    video.base            "1/90000": seconds in a unit of both
    video.size            "1920x1080", on every key frame
    video.extradata       what a decoder has to know before the first packet (parameter sets), on every key frame
    video.discontinuity   on the first frame after something is missing or a clock jumped: why, in one word
                          (`start`, `reopened`, `skipped`, `lost`, `changed`, `timestamps`, `gated`)

Times
    `captured_ns` is the boot clock's: when the first frame after a discontinuity arrived, and from there on the camera's
    clock, so that jitter of the network is not in it.

Gates (`drivers.camera.gate`)
    In the capturing process, behind everything else: what is let through is as the rest says. A time-lapse is JPEG. What a
    gate holds back is counted as `gated`, not as lost.

Looking at it
    `drivers.camera.mp4` writes packets into MP4 files as they are, `drivers.camera.picture` decodes one into a JPEG.
"""
