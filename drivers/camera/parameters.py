"""Parameter sets and picture sizes out of encoded frames.

H.264 (ITU-T H.264 annex B and 7.4.1) and H.265 (ITU-T H.265 annex B and 7.4.2.2) as byte streams: units with 00 00 01
before each. What a decoder has to know stands in units of its own, before the first of a picture. JPEG (ITU-T T.81, B.2.2):
the size stands in the frame header.
"""

from __future__ import annotations

_START = b"\x00\x00\x01"


def parameter_sets(codec: str, payload: bytes, extradata: bytes = b"") -> bytes:
    """The parameter sets in a frame, each behind 00 00 00 01; empty where it has none.

    Nor has it where its units have lengths before them, of which some look like 00 00 01: where `extradata` is an avcC or
    hvcC record (ISO/IEC 14496-15), which begins with 1.
    """
    if codec not in ("h264", "hevc") or extradata.startswith(b"\x01"):
        return b""
    found = []
    begin = payload.find(_START) + 3
    while 3 <= begin < len(payload):
        kind = payload[begin] & 0x1F if codec == "h264" else payload[begin] >> 1 & 0x3F
        if (1 <= kind <= 5) if codec == "h264" else kind < 32:
            break
        end = payload.find(_START, begin)
        unit = payload[begin : end if end >= 0 else len(payload)].rstrip(b"\x00")
        if kind in ((7, 8) if codec == "h264" else (32, 33, 34)):
            found.append(b"\x00" + _START + unit)
        if end < 0:
            break
        begin = end + 3
    return b"".join(found)


def jpeg_size(payload: bytes) -> tuple[int, int] | None:
    """Width and height, None where the frame header is not found."""
    at = 2
    while at + 9 <= len(payload) and payload[at] == 0xFF:
        marker = payload[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(payload[at + 7 : at + 9], "big"), int.from_bytes(payload[at + 5 : at + 7], "big")
        else:
            at += 2 + int.from_bytes(payload[at + 2 : at + 4], "big")
    return None
