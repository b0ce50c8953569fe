"""The seam to the engine: an ordered key-value store with families, atomic batches, and a sync of its own.

`contract` says what the store asks of an engine; `rocks` is RocksDB, the only module that knows rocksdict; `memory` is
its twin in RAM, which can lose power, fill up and stall; `logs` reads RocksDB's write-ahead log on its own account,
`evidence` gathers what damaged files still hold, `pair` keeps the tables twice, `skipping` reads on behind what can't be
read, `repair` brings back an engine that does not open.
"""
