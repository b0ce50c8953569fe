"""`python -m tests.bench [NAME …]`: what this machine does, measured now. Ratios travel, absolutes do not.

    append      durable events of 100 bytes from 1, 4 and 16 writers, beside SQLite and a bare file; read back, read along
    bulk        bytes written for each byte of bulk, and the rate beside a bare file
    growth      the same with 1 to 1,000 streams, and 0.1 to 10 GB stored: time, memory, opening (EDGE_BENCH_GROWTH_GB)
    limit       a disk limit of 256 MB under 5 GB, at full speed and at a camera's (EDGE_BENCH_LIMIT_GB)
    mqtt        QoS 1 messages through mosquitto to durable in a real gateway, beside paho alone
    listener    QoS 1 publishers straight to a gateway, beside mosquitto (from memory) and NATS (fsynced); idle and sick clients
    drain       a backlog to a hub over loopback
    memory      resident memory of a gateway at rest, and its peak in the runs above

One after the other, nothing else should run beside them. `growth`, `limit` and `listener` take some minutes, the others one
or two.
"""
