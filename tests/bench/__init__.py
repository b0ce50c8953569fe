"""`python -m tests.bench [NAME …]`: what this machine does, measured now. Ratios travel, absolutes do not.

    append      durable events of 100 bytes from 1 and 4 writers, beside a bare file that is synced as often
    mqtt        QoS 1 messages through mosquitto to durable in a real gateway, beside paho alone
    drain       a backlog to a hub over loopback
    memory      resident memory of a gateway at rest, and its peak in the runs above

Short runs, one after the other, nothing else should run beside them.
"""
