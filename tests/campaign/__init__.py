"""The campaign against the store alone: a mixed load, hundreds of SIGKILLs and torn logs, and after each everything is judged.

`tests.oracle` kills whole gateways, which takes seconds a round. Here a round is a process that opens a store, works on it
for some tens of milliseconds and is killed, so that a thousand of them take minutes and come to every step of the store's
code many times. It is a room of its own because nothing of a node is in it: only `storage`, driven as a library.

A store lives for some tens of rounds. In each a forked process

    1. opens the store that the process before it left,
    2. reads all of it and judges it by what the journal says was submitted, acknowledged, asked for,
    3. goes on with the load, writing down each step before it takes it and each acknowledgement when it gets it,
    4. is killed: at a random moment, or at the n-th visit of a named step, by its own trace.

After a power cut instead of a kill, what the log and the chunks hold behind what was synced is torn off at a random byte.

    events      what is written: everything about an event follows from its identity
    journal     what was about to be done and what was told, which outlives the process
    model       what the store must hold by that
    reading     what it holds; `kept`, `fresh` and `judging` compare the two
    scene       what operations work on; `appends`, `…` are the operations, `load` mixes them
    worker      one round's process; `power` tears what was not synced
    rounds      the campaign: forks, kills, counts
    broken      stores with one promise broken, which the campaign must notice

`python -m tests.campaign --kills 1000 --cuts 300` runs it and prints what was hit and what was done.
"""
