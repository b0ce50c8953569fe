"""The camera driver: video into a bulk stream, as the camera encoded it. This docstring is the specification.

What a camera's stream holds
    One event for each encoded frame, in the order in which the camera sent them (decoding order). The payload is the
    packet as the demuxer gave it, untouched. The content type names the codec: `video/h264`, `video/h265`, `image/jpeg`.
    `Frame.key_frame` marks those that video can be decoded from, so `Store.key_frame_before` finds them by time.

Headers (`drivers.camera.packet` writes and reads them)
    video.pts, video.dts  the camera's own clock, in units of `video.base`; absent where the camera gave none. Where it
                          runs over (32 or 33 bits) they count on
    video.base            "1/90000": seconds in a unit of both
    video.size            "1920x1080", on every key frame
    video.extradata       what a decoder has to know before the first packet (parameter sets), on every key frame
    video.discontinuity   on the first frame after something is missing or a clock jumped: why, in one word
                          (`start`, `reopened`, `skipped`, `lost`, `changed`, `timestamps`, `gated`)

Where video begins anew (`drivers.camera.continuity`)
    The first frame behind a discontinuity is a key frame: what comes before it is left out and counted as lost. `start` is
    the first of a source, `reopened` the first of every later opening, `skipped` behind frames that the store had no room
    for, `lost` behind a damaged frame or a hole in the camera's time, `timestamps` where the camera's clock was set,
    `changed` where codec, picture size or parameter sets are others. Above 10 s between two key frames the source is troubled.

Times
    `captured_ns` is the boot clock's: when the first frame after a discontinuity arrived, and from there on the camera's
    clock, so that jitter of the network is not in it. The two clocks drift apart, so that tie follows the frame that came
    soonest in ten seconds, by a tenth of the time that passes at most. Without a clock it is when the frame arrived.

How it is read
    In a process of its own for each camera (`drivers.camera.capture`), because FFmpeg may hang in a read. It sends records
    through a pipe of 1 MiB (`drivers.camera.records`); when that is full, the camera waits. What a camera sends over TCP is
    read every 0.3 s in one go, since waking up costs more than reading. When nothing comes for `stall_timeout` the process
    is killed and the camera opened again with backoff. The process ends when its standard input does, so it can't outlive a
    gateway that was killed. A frame is at most 16 MiB.

    Raw pictures (most USB cameras' YUYV) are stored as JPEG. A file is played at its own pace.

When the store pushes back
    What finds no room is lost and counted, and so is what follows it, up to the next key frame.

Passwords
    They go to the capturing process over its standard input, never as an argument. Messages name a camera by host and port
    alone, and hold nothing of the rest of its address.

Gates (`drivers.camera.gate`)
    In the capturing process, behind everything else: what is let through is as the rest says. A time-lapse is JPEG. What a
    gate holds back is counted as `gated`, not as lost.

Looking at it
    `drivers.camera.mp4` writes packets into MP4 files as they are, `drivers.camera.picture` decodes one into a JPEG.
"""
