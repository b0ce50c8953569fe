"""Replication: the state machine, the wire, the client, and the conformance suite over every kind of upstream."""
