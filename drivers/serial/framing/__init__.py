"""Framers: bytes in as they come off the line, readings out. No input or output here.

    lines    up to a terminator; with a pattern, only what matches it
    nmea     NMEA 0183 sentences with the right checksum, decoded where they are known
    fixed    a fixed length, with a sync, a checksum, both or neither
    length   a length field somewhere behind the sync
    slip     RFC 1055
    cobs     Cheshire & Baker 1999, delimited by zero
    raw      what came, with the time of the first byte

However the bytes are cut into chunks, the same readings come out (of `raw` with a gap: between gaps). What is no reading is
counted in `bad`, costs only itself and is not kept: each framer states how many bytes it holds at most.
"""

from drivers.serial.framing.checksums import Checksum, ChecksumName, Order
from drivers.serial.framing.contract import Framer, Reading
from drivers.serial.framing.lines import LineFramer
from drivers.serial.framing.nmea import NmeaFramer, nmea_checksum
from drivers.serial.framing.raw import RawFramer
from drivers.serial.framing.sized import SizedFramer, fixed_size, prefixed_size
from drivers.serial.framing.stuffing import cobs_framer, slip_framer

__all__ = [
    "Checksum",
    "ChecksumName",
    "Framer",
    "LineFramer",
    "NmeaFramer",
    "Order",
    "RawFramer",
    "Reading",
    "SizedFramer",
    "cobs_framer",
    "fixed_size",
    "nmea_checksum",
    "prefixed_size",
    "slip_framer",
]
