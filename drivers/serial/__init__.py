"""Serial instruments, over pyserial: everything from lines of text to Modbus RTU. This docstring is the specification.

`modbus` asks (`modbus`: its own specification). `probing` finds out what is plugged in and how it speaks, without a word.

`serial` listens (`driver`): lines, NMEA 0183, fixed length, length-prefixed, SLIP, COBS, or raw capture (`framing`). Payloads are
the frames as they came, without a terminator, SLIP and COBS decoded; NMEA sentences that are known become JSON with units.
Each carries the boot clock's time at which its last byte was read; raw captures, of their first.

The line
    The port is looked up at every opening (`names`), so a stable name, a pattern or `usb:VID:PID` survives an unplug and a
    replug under another path. It is locked for us (flock(2)). Breaks, and bytes with parity or framing errors, are marked by
    the kernel (`marks`): they are counted, and the frame that they fall into is bad.

What is counted
    `good`, `bad`: frames. Bad is what was too long, cut off, damaged, of a wrong checksum or without match; noise between
    frames counts once a run. `breaks`, `damaged_bytes`: as the receiver saw them.

Limits
    64 KiB are read in a poll. A framer keeps at most one frame of the configured length (1 MiB for a line, 64 KiB for any
    other frame) and what was read last; what exceeds it is skipped, not kept.

Memoryless: what the line carried while nobody was listening is gone.
"""

from drivers.serial.config import SerialConfig
from drivers.serial.driver import SerialDriver

__all__ = ["SerialConfig", "SerialDriver"]
