"""Retention: what a store gives up, when and why, and how the space comes back. "Giving up" in `storage` is the text.

`steps`         the one place that decides: by age, bytes, consumption, confirmation; truncation by hand
`keeping`       how far a segment could be given up by each of these
`budget`        the disk limit: what can be on disk until the next measurement
`room`          what gives way when the limit is reached, and in which order
`truncating`    a segment's start moves, in a commit
`thinning`      every second block gives way to a gap record
`retiring`      generations that hold nothing readable any more, dropped whole
`compacting`    generations that can't go: what is dead in them is deleted
`drops`         what was given up, counted by reason, and told
`forecast`      how long until something has to give way
"""
