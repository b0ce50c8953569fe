"""Many serial lines at once into a real gateway: `python -m tests.drivers.serial_campaign --lines 16 --seconds 600`.

Each line is a pseudo-terminal that speaks at the pace of its rate, in pieces as an adapter hands them over (16 ms), one of the
framings in turn, with frames that are numbered. Some frames are damaged, and each line is once pulled out and comes back
under another path. Asked is

    1. Every good frame is stored once, in order, and nothing else.
    2. `bad` is the number of frames that were damaged, of bursts of noise, and of halves at an unplug.
    3. No line ever had to wait: an instrument would not.

and told is the share of a core that the gateway took.

What is fair
    - A frame is damaged by a byte changed or left out, by its tail cut off, or by noise in front of it; never so that the
      delimiter is gone on which the next frame rests (a line's newline, COBS's zero), and never two in a row: what lies between
      two good frames can't always be told to be one or two.
    - A line is pulled out in the middle of a frame, once the gateway has read what was said before: what is left in a
      kernel's buffer goes with the device.
    - A line that is back speaks when the gateway has opened it. Who talks before is not heard.

    frames    the framings: how a frame is made, damaged, and known again
    lines     a pseudo-terminal that speaks
    judging   what was said against what is stored
    running   the gateway, the run and its report
"""
