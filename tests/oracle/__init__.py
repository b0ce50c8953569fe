"""The crash oracle: real nodes as processes, a real broker, sources that number what they send, kills, and a comparison.

What sources were told is safe is recorded outside the gateway; what the hub's streams hold is judged against it
(`edge.demo.verdict`, which has the numbering sources too). Here is what only tests need:

    steps       the named steps of the code, at each of which a process can be killed
    node        `edge` with a trace that counts visits of the steps and kills its own process at one of them
    aim         a node of the cast that is killed where and when a round says
    flapping    a link that fails on a seeded schedule
    rounds      the run: N rounds of kills, each followed by a check of both stores; in the end the comparison
    broken      `edge` with one promise broken on purpose: what the oracle must notice

`python -m tests.oracle --rounds 200 --seed 1` runs it and prints what was hit and what came of it.
"""
