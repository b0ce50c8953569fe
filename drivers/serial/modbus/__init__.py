"""Modbus RTU: a client that asks the devices on a line in turn for registers, and tells their values as JSON.

One reading for each device and interval, of all its registers that have this interval:

    {"device":3,"flow":12.7,"running":true,"units":{"flow":"m3/h"},"errors":{"level":"exception 2: illegal data address"}}

`errors` is there only where something could not be read. The time is that of the last answer in it.

The protocol is MODBUS Application Protocol V1.1b3 over MODBUS over Serial Line V1.02, both from modbus.org. Requests and
answers are coded by pymodbus; when they go out is decided here. pymodbus's client waits within a call for as long as timeout
times retries, on the wall clock, which may be stepped; keeps silence between frames by its slowness alone (at 115,200 baud 6 of
29 requests went out too early); and gives up an answer that noise came before.

    plan       registers of one device and interval -> as few requests as the limits allow, none over a gap
    exchange   one request as bytes, and the answer to it found among what came
    polling    whose turn it is, silence, timeouts, backoff: no input or output, time is told
    values     registers -> numbers
    driver     the line and the clock

Timing
    A request goes out after the line was silent for 3.5 characters of 11 bits, above 19,200 baud for 1.75 ms (V1.02,
    2.5.1.1). An answer has to be complete within `timeout` and the time that request and answer themselves take.
    After a request that had to be repeated its device is left alone for one more `timeout`: an answer that came late
    must not be taken for that to the next request, for an answer does not say what was asked.

A device that does not answer is asked again `retries` times. Then its readings are lost for 1 s, 2 s, 4 s … up to `max_backoff`,
and it is asked once at the end of each: so it holds the others up for one `timeout` in that time. When none of the devices has
answered three times in a row, or the line was never silent for 5 s, the port is closed and opened again.

What is counted
    `good` readings; `lost` readings that were due and did not come; `timeouts`, `exceptions` of requests; `bad` answers that were
    damaged or unasked for. A device that stops answering, and one that is back, is logged once.

Limits: 1,000 registers, 247 devices, 256 bytes of an answer.
"""

from drivers.serial.modbus.config import ModbusConfig, Register
from drivers.serial.modbus.driver import ModbusDriver

__all__ = ["ModbusConfig", "ModbusDriver", "Register"]
