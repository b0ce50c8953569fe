"""The messages as bytes: what was sent is what is read, and whatever was not sent is refused with a reason."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from storage.mirror.unit import Holdings, Unit
from sync.contract import Hello
from sync.hub.envelope import HEADER_BYTES, MAX_HELLO_BYTES, MAX_UNIT_BYTES, Kind, WireError, WireVersionError, seal
from sync.hub.wire import (
    decode_hello,
    decode_holdings,
    decode_unit,
    encode_hello,
    encode_holdings,
    encode_unit,
)
from tests.sync.samples import HELLOS, HOLDINGS, UNITS

few = settings(max_examples=50, deadline=None)


@pytest.mark.long
@given(HELLOS)
def test_hello_survives_the_wire(hello: Hello) -> None:
    assert decode_hello(encode_hello(hello)) == hello


@pytest.mark.long
@given(HOLDINGS)
def test_holdings_survive_the_wire(holdings: Holdings) -> None:
    assert decode_holdings(encode_holdings(holdings)) == holdings


@pytest.mark.long
@few
@given(UNITS)
def test_a_unit_survives_the_wire(unit: Unit) -> None:
    assert decode_unit(encode_unit(unit)) == unit


@pytest.mark.long
@few
@given(UNITS, st.data())
def test_a_unit_cut_short_is_refused(unit: Unit, data: st.DataObject) -> None:
    message = encode_unit(unit)
    end = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(WireError):
        decode_unit(message[:end])


@pytest.mark.long
@few
@given(UNITS, st.binary(min_size=1, max_size=20))
def test_a_unit_with_more_behind_it_is_refused(unit: Unit, more: bytes) -> None:
    with pytest.raises(WireError):
        decode_unit(encode_unit(unit) + more)


@pytest.mark.long
@few
@given(UNITS, st.data())
def test_any_changed_byte_is_noticed(unit: Unit, data: st.DataObject) -> None:
    message = bytearray(encode_unit(unit))
    at = data.draw(st.integers(0, len(message) - 1))
    message[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WireError):
        decode_unit(bytes(message))


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for decode in (decode_hello, decode_holdings, decode_unit):
        with pytest.raises(WireError):
            decode(noise)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.long
@few
@given(UNITS, st.data())
def test_a_well_sealed_message_with_a_nonsense_field_is_refused_by_name_of_error(
    unit: Unit, data: st.DataObject
) -> None:
    """Whoever holds a token can make valid checksums: every field is checked, none ends in another exception."""
    message = encode_unit(unit)
    head_bytes = int.from_bytes(message[8:12], "big")
    head = json.loads(message[HEADER_BYTES : HEADER_BYTES + head_bytes])
    field = data.draw(st.sampled_from(sorted(head)))
    nonsense = data.draw(JSON)
    assume(nonsense != head[field] and nonsense != [])
    head[field] = nonsense
    try:
        decoded = decode_unit(seal(Kind.UNIT, head, message[HEADER_BYTES + head_bytes :]))
    except WireError:
        return
    assert getattr(decoded, field) in (nonsense, unit.store)


@pytest.mark.long
@few
@given(UNITS)
def test_an_entry_that_claims_bytes_of_nobody_is_refused(unit: Unit) -> None:
    assume(unit.parts)
    message = encode_unit(unit)
    head_bytes = int.from_bytes(message[8:12], "big")
    head = json.loads(message[HEADER_BYTES : HEADER_BYTES + head_bytes])
    head["parts"][-1][2] += 1
    with pytest.raises(WireError, match="claim more"):
        decode_unit(seal(Kind.UNIT, head, message[HEADER_BYTES + head_bytes :]))


def test_a_message_of_another_kind_is_named() -> None:
    holdings = encode_holdings(Holdings(None, 0, {}))
    with pytest.raises(WireError, match="a unit message was expected and a holdings message arrived"):
        decode_unit(holdings)


def test_a_newer_version_is_told_apart_from_damage() -> None:
    message = bytearray(encode_holdings(Holdings(None, 0, {})))
    message[4] += 1
    with pytest.raises(WireVersionError, match="install the same release"):
        decode_holdings(bytes(message))


def test_a_login_page_is_no_message() -> None:
    with pytest.raises(WireError, match="not a mirror message"):
        decode_holdings(b"<!doctype html><html><title>Welcome to HotelNet</title></html>")


def test_what_is_too_large_is_neither_sent_nor_believed() -> None:
    with pytest.raises(WireError, match=str(MAX_HELLO_BYTES)):
        seal(Kind.HELLO, {"node": "x" * MAX_HELLO_BYTES})
    announced = bytearray(seal(Kind.UNIT, {}))
    announced[12:16] = b"\xff\xff\xff\xff"
    with pytest.raises(WireError, match=str(MAX_UNIT_BYTES)):
        decode_unit(bytes(announced))


def test_a_head_nested_without_end_is_refused() -> None:
    deep = b"[" * 30_000
    header = seal(Kind.HELLO, {})[:8] + len(deep).to_bytes(4, "big") + bytes(4)
    checksum = zlib.crc32(deep, zlib.crc32(header))
    with pytest.raises(WireError, match="no JSON"):
        decode_hello(header + checksum.to_bytes(4, "big") + deep)
