"""Mirroring: what goes upstream, and what a hub keeps of other nodes.

`unit`      what is put upstream at once, and what a store says it holds of a node
`cutting`   the next unit for an upstream, out of the commit chain
`behind`    the same where the chain's oldest generations are gone: out of the segments themselves
`taking`    a unit into a commit of the hub, where it continues exactly what is held
`boots`     the boots that go along, so that times can be told upstream
"""
