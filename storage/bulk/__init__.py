"""Bulk data: written once, into chunk files; segments hold pointers. "Bulk" in `storage` is the text.

`chunks`        the seam to chunk files, and the real ones
`writes`        what a commit puts into chunks, and unlinks
`leading`       blocks that lie whole in chunks though their pointers are gone
`orphans`       chunks at opening: what no pointer names, and what pointers name that is not there
`key_frames`    the last key frame before a moment, out of the pointers alone
"""
