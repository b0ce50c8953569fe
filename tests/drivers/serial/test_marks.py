"""What the kernel marks in a terminal's bytes (PARMRK), taken out again."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from drivers.serial.marks import Kind, Piece, Unmarking

pieces = st.lists(
    st.one_of(
        st.builds(
            Piece, st.just(Kind.DATA), st.lists(st.sampled_from(b"\x00\x01\xff"), min_size=1, max_size=6).map(bytes)
        ),
        st.builds(
            Piece, st.just(Kind.DAMAGED), st.integers(min_value=1, max_value=255).map(lambda byte: bytes([byte]))
        ),
        st.just(Piece(Kind.BREAK, b"")),
    ),
    max_size=10,
)


def marked(piece: Piece) -> bytes:
    """As termios(3) says that it is read."""
    if piece.kind is Kind.DATA:
        return piece.data.replace(b"\xff", b"\xff\xff")
    return b"\xff\x00" + (piece.data or b"\x00")


def joined(found: list[Piece]) -> list[Piece]:
    """Neighbouring data as one."""
    whole: list[Piece] = []
    for piece in found:
        if whole and piece.kind is Kind.DATA and whole[-1].kind is Kind.DATA:
            whole[-1] = Piece(Kind.DATA, whole[-1].data + piece.data)
        else:
            whole.append(piece)
    return whole


@given(pieces, st.lists(st.integers(min_value=0), max_size=8))
def test_what_was_marked_comes_out_however_it_is_cut(sent: list[Piece], places: list[int]) -> None:
    data = b"".join(map(marked, sent))
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    unmarking = Unmarking()
    found = [piece for low, high in pairwise(edges) for piece in unmarking.feed(data[low:high])]
    assert joined(found) == joined(sent)


def test_without_marks_the_bytes_pass_as_they_are() -> None:
    assert Unmarking().feed(b"12.7\n") == [Piece(Kind.DATA, b"12.7\n")]
    assert Unmarking().feed(b"") == []
