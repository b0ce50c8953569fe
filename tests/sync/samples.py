"""Hypothesis strategies for what travels between a node and a hub."""

from __future__ import annotations

from hypothesis import strategies as st

from storage.boots import Boot
from storage.mirror.unit import Entry, Held, HeldSegment, Holdings, Part, Unit
from sync.contract import Hello

U32 = st.integers(0, (1 << 32) - 1)
U64 = st.integers(0, (1 << 64) - 1)
NAMES = st.from_regex(r"[A-Za-z0-9_.~@:+=-]{1,20}(/[A-Za-z0-9]{1,20}){0,2}", fullmatch=True)

HELLOS = st.builds(Hello, NAMES, st.uuids(), U64)
HELD_SEGMENTS = st.builds(HeldSegment, U32, U32, U64, st.none() | U64)
HELD = st.builds(Held, st.uuids(), U64, st.lists(HELD_SEGMENTS, max_size=3).map(tuple))
HOLDINGS = st.builds(Holdings, st.none() | st.uuids(), U64, st.dictionaries(NAMES, HELD, max_size=4), U64)
ENTRIES = st.builds(Entry, U32, U32, U64, U64, U64, U64, st.binary(max_size=200))
PARTS = st.builds(Part, NAMES, st.uuids(), st.binary(max_size=80), U64, U64, st.lists(ENTRIES, max_size=4).map(tuple))
TIMES = st.integers(-(1 << 63) + 1, (1 << 63) - 1)
BOOTS = st.builds(Boot, st.uuids(), st.uuids(), U64, TIMES, TIMES, TIMES, st.booleans(), U64)
UNITS = st.builds(
    Unit,
    NAMES,
    st.uuids(),
    U64,
    st.lists(BOOTS, max_size=3).map(tuple),
    st.lists(PARTS, max_size=3).map(tuple),
    U64,
    U64,
)
