"""What tells one message from another: all that is stored of it, and nothing that may change when it is sent again."""

from __future__ import annotations

import pytest

from drivers.listener.labels import Labels

LABELS = Labels(lambda topic: ("s", "k"))
CONTENT, USER, CORRELATION = b"\x03\0\1c", b"\x26\0\1a\0\1b", b"\x09\0\2\0\1"


def crc(topic: bytes, properties: bytes = b"") -> int:
    return LABELS.get(topic, bytes([len(properties)]) + properties).crc


@pytest.mark.parametrize("changing", [b"\x23\0\1", b"\x23\0\2", b"\x02\0\0\0\7", b"\x01\1"])
def test_what_changes_when_it_is_sent_again_does_not_count(changing: bytes) -> None:
    assert crc(b"a", CONTENT + changing + USER) == crc(b"a", CONTENT + USER)


def test_what_is_stored_counts() -> None:
    pieces = (b"", CONTENT, USER, CORRELATION, CONTENT + USER, USER + USER, b"\x26\0\2ab\0\0", b"\x08\0\1c")
    different = {crc(topic, properties) for topic in (b"a", b"ab") for properties in pieces}
    assert len(different) == 2 * len(pieces)
