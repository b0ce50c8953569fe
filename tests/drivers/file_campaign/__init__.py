"""The campaign against the file drivers: a real gateway, killed at every step of a directory's life and of a rotation.

A feeder puts files into two directories, renamed into place, and appends numbered lines to two logs that are rotated, one by
renaming, one by copying and truncating; it goes on while the gateway is dead. It knows what it wrote, and is the judge:

    1. every line, row and whole file is stored once, in order for each name,
    2. nothing is left behind in a directory, and every file lies in `completed`, or with its reason in `failed`, once, with the
       bytes that it had, beside nothing else,
    3. every line of the logs is stored once, in order.

    feeder      what is put where, and what has to come of it
    cast        gateway and feeder
    rounds      the run and its report
    broken      a gateway with one promise broken, which the campaign must notice

One of the directories has its completed folder on another file system, where there is one (/dev/shm), so that files are
copied. `python -m tests.drivers.file_campaign --kills 200 --seed 1` runs it.
"""
