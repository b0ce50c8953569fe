"""Real servers that tests drive: found on the machine, or fetched from its package registry into a cache.

The cache is `$EDGE_TEST_CACHE`, or `.cache/servers` in this repository. Nothing is installed, and no root is needed.
"""
