"""Salvage: what is left of a damaged store, found, put back and told. "Opening" in `storage` is the text.

`holes`     the commit chain closed again, or begun behind what is missing of it
`mending`   what is put back, and what follows from it for the tables
`report`    what was found and done, in words and as exact ranges
`newest`    the newest commits, where only the witness knows of them
`scrub`     what of segments and chain can't be read, turned into gap records
`found`     what damaged files still hold, sorted
"""
