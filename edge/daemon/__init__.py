"""`edge run`: the only place where concrete classes meet, and the only owner of threads, sleeps, clocks and randomness.

Threads
    committer        takes the store's commit steps; nothing else makes anything durable
    source NAME      one for each source: takes its steps, waits between them
    uplink NAME      one for each upstream
    http             an asyncio loop with the local socket and, where there is one, the hub
    main             the supervisor: signals, systemd, and whether the others live

Start
    The store is opened, then the committer, the local socket, the sources and the uplinks are started. No step of it
    needs a network, a hub, a broker or a device: what is missing is tried again by whoever needs it. What stops a start:
    a configuration with problems (exit 2); a store that can't be opened or a socket that can't be listened at (exit 1).

Stop (SIGTERM, SIGINT)
    Sources are closed, the local API ends, what waits is made durable, uplinks are closed, the store is closed. Exit 0. A
    thread that hangs is left behind after five seconds: everything that was acknowledged is on disk already.

Failure
    A failed sync ends the committer: nothing may be called durable any more, so the program ends (exit 1) and systemd
    starts it again. Nothing that a source or an uplink does ends the program.

Watchdog
    Fed when the supervisor runs and the committer finished a step lately. A source that hangs is shown as STUCK and does
    not stop it.

Reload (SIGHUP)
    The files are read again. With a problem in them nothing changes and the log says what is wrong. Sources and
    upstreams that changed are stopped and started; streams take over their settings, but for kind, priority and
    when_full; what changed in [node] or [hub] needs a restart. The log says so.
"""

from edge.daemon.run import run

__all__ = ["run"]
