"""Serial instruments, over pyserial: lines, or NMEA 0183 sentences.

Memoryless: what the line carried while nobody was listening is gone. The port's path is looked up at every opening,
so a stable name (`/dev/serial/by-id/…`) survives an unplug and a replug under another number. The port is opened for
us alone. Payloads are the bytes as they came, without the terminator; each carries the time at which it was read.
"""

from drivers.serial.driver import SerialConfig, SerialDriver

__all__ = ["SerialConfig", "SerialDriver"]
