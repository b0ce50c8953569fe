"""What the capturing process writes is what the driver reads, in whatever pieces it comes."""

from __future__ import annotations

from fractions import Fraction

import pytest

from drivers.camera.packet import Packet
from drivers.camera.records import (
    COUNTS,
    MAX_RECORD_BYTES,
    NOTE,
    PACKET,
    Records,
    counts_of,
    counts_record,
    packet_of,
    packet_record,
    record,
)

KEY = Packet(
    payload=b"\x00\x00\x00\x01\x65" * 100,
    codec="h264",
    key_frame=True,
    captured_ns=1 << 60,
    pts=-5,
    dts=(1 << 33) + 7,
    base=Fraction(1, 90_000),
    size=(1920, 1080),
    extradata=b"sps and pps",
    discontinuity="start",
)
OTHER = Packet(payload=b"p", codec="hevc", key_frame=False, captured_ns=0, base=Fraction(1001, 30_000))


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_records_come_out_whole(piece: int) -> None:
    written = packet_record(KEY) + record(NOTE, b"a word") + counts_record(1, 2, 3) + packet_record(OTHER)
    records = Records()
    read = [each for at in range(0, len(written), piece) for each in records.feed(written[at : at + piece])]
    assert [kind for kind, _ in read] == [PACKET, NOTE, COUNTS, PACKET]
    assert packet_of(read[0][1]) == KEY
    assert read[1][1] == b"a word"
    assert counts_of(read[2][1]) == (1, 2, 3)
    assert packet_of(read[3][1]) == OTHER


def test_nonsense_is_refused_and_not_waited_for() -> None:
    with pytest.raises(ValueError, match="a record of"):
        list(Records().feed(b"P" + (MAX_RECORD_BYTES + 1).to_bytes(4, "big")))
    with pytest.raises(ValueError, match="a frame's record"):
        packet_of(b"short")
    with pytest.raises(ValueError, match="a record of counts"):
        counts_of(b"short")
