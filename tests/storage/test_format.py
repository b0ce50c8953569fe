"""What is on disk can be read back as it was written, and a single flipped bit never goes unnoticed."""

from __future__ import annotations

from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import block, chain, codec, frame
from storage.errors import DamagedBlockError
from storage.model import Frame, GapReason

TEXT = st.text(max_size=20)
INT64 = st.integers(-(1 << 62), 1 << 62)
HEADERS = st.lists(st.tuples(TEXT, st.binary(max_size=30)), max_size=3).map(tuple)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    payloads = draw(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
    times = draw(st.none() | st.lists(INT64, min_size=len(payloads), max_size=len(payloads)))
    writer = draw(st.none() | st.text(min_size=1, max_size=8))
    number = None if writer is None else draw(st.integers(0, 1 << 61))
    return Frame(payloads, draw(TEXT), draw(TEXT), draw(HEADERS), draw(INT64), times, writer, number)


def make_block(body: bytes) -> bytes:
    return block.encode(
        store=UUID(int=1),
        incarnation=UUID(int=2),
        stream="plant/flow",
        segment=3,
        epoch=4,
        commit=5,
        previous=6,
        first_event=7,
        events=8,
        boot=UUID(int=9),
        appended_ns=10,
        captured_ns=(11, 12),
        writers=(block.WriterSpan("plc-1", 13, 14), block.WriterSpan("plc-2", 15, 16)),
        body=body,
    )


@pytest.mark.long
@given(st.lists(frames(), min_size=1, max_size=5))
def test_frames_come_back_as_they_were_written(written: list[Frame]) -> None:
    body = b"".join(frame.encode(f, 1 if f.writer is not None else 0) for f in written)
    read = frame.decode_all(body)
    assert len(read) == len(written)
    for before, after in zip(written, read, strict=True):
        assert list(after.payloads) == list(before.payloads)
        assert (after.routing_key, after.content_type, after.headers) == (
            before.routing_key,
            before.content_type,
            before.headers,
        )
        if before.times_ns is None or len(before.payloads) == 1:
            captured = before.captured_ns if before.times_ns is None else before.times_ns[0]
            assert (after.captured_ns, after.times_ns) == (captured, None)
        else:
            assert (after.captured_ns, after.times_ns) == (before.times_ns[0], list(before.times_ns))
        assert (after.writer_place, after.number) == ((1, before.number) if before.writer is not None else (0, 0))
    assert read[-1].at + read[-1].length == len(body)


@given(st.lists(st.binary(max_size=200_000), min_size=1, max_size=12))
def test_a_long_run_of_events_is_cut_into_frames_in_order(payloads: list[bytes]) -> None:
    whole = Frame(payloads, times_ns=list(range(len(payloads))), writer="w", number=100)
    pieces = list(frame.split(whole))
    assert [p for piece in pieces for p in piece.payloads] == payloads
    assert [t for piece in pieces for t in piece.times_ns or ()] == list(range(len(payloads)))
    number = 100
    for piece in pieces:
        assert piece.number == number
        assert len(piece.payloads) == 1 or sum(map(len, piece.payloads)) <= frame.FRAME_TARGET_BYTES
        number += len(piece.payloads)


@pytest.mark.parametrize("body", [b"", b"short", b"compressible " * 100])
def test_a_block_says_everything_of_itself(body: bytes) -> None:
    raw = make_block(body)
    header = block.parse_header(raw)
    block.verify(raw, header)
    assert header.stream == "plant/flow"
    assert (header.segment, header.epoch, header.commit, header.previous) == (3, 4, 5, 6)
    assert (header.first_event, header.events, header.raw_bytes) == (7, 8, len(body))
    assert (header.store, header.incarnation, header.boot) == (UUID(int=1), UUID(int=2), UUID(int=9))
    assert [(w.writer, w.first, w.last) for w in header.writers] == [("plc-1", 13, 14), ("plc-2", 15, 16)]
    assert header.size_bytes == len(raw)


def test_a_compressible_block_takes_less_than_its_frames() -> None:
    assert len(make_block(b"temperature=21.5 " * 200)) < 600


LARGE = 300_000
NOISE = Random(1).randbytes(LARGE)
TEXT_BYTES = b"temperature=21.5 " * (LARGE // 17)


@pytest.mark.parametrize(
    ("body", "packing"),
    [(NOISE, codec.CODEC_NONE), (TEXT_BYTES, codec.CODEC_ZSTD), (NOISE[: LARGE // 2] + TEXT_BYTES, codec.CODEC_ZSTD)],
)
def test_a_large_body_is_compressed_where_that_pays_anywhere(body: bytes, packing: int) -> None:
    form, packed = codec.compress(body)
    assert form == packing
    assert codec.decompress(form, packed, len(body)) == body


def test_what_a_camera_encoded_is_looked_at_in_a_few_places_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    pack = codec._pack

    def counted(raw: bytes) -> bytes:
        looked.append(len(raw))
        return pack(raw)

    monkeypatch.setattr(codec, "_pack", counted)
    assert codec.compress(NOISE)[0] == codec.CODEC_NONE
    assert sum(looked) < LARGE / 10


def test_every_single_flipped_bit_of_a_block_is_noticed() -> None:
    body = frame.encode(Frame([b"12.7", b"12.8"], "pump-7", captured_ns=99, writer="plc-1", number=13), 1)
    raw = make_block(body)
    for bit in range(len(raw) * 8):
        hit = bytearray(raw)
        hit[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedBlockError):
            block.frames(bytes(hit), block.parse_header(bytes(hit)))


def test_a_header_is_trusted_when_only_the_body_is_hit() -> None:
    raw = bytearray(make_block(b"x" * 100))
    raw[-10] ^= 1
    header = block.parse_header(bytes(raw))
    assert header.events == 8
    with pytest.raises(DamagedBlockError):
        block.verify(bytes(raw), header)


RECORD = chain.CommitRecord(
    7, 0xABCD, 3, UUID(int=4), 5, 6, (chain.ChainEntry(1, 2, 3, chain.BLOCK, 1, 100, 50, 4, 0xFEED),)
)


def test_a_commit_record_comes_back_and_every_flipped_bit_is_noticed() -> None:
    raw = RECORD.encode()
    assert chain.CommitRecord.decode(raw) == RECORD
    for bit in range(len(raw) * 8):
        hit = bytearray(raw)
        hit[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedBlockError):
            chain.CommitRecord.decode(bytes(hit))


def test_a_stand_in_keeps_the_checksum_that_its_successor_names() -> None:
    stand_in = chain.CommitRecord(7, 0xABCD, 3, UUID(int=4), 5, 6, (), chain.STAND_IN, RECORD.checksum)
    assert chain.CommitRecord.decode(stand_in.encode()).checksum == RECORD.checksum


@given(st.sampled_from(GapReason), st.integers(1, 1 << 40), st.none() | st.integers(0, 1 << 40), TEXT)
def test_a_gap_record_comes_back(reason: GapReason, length: int, events: int | None, detail: str) -> None:
    gap = chain.GapRecord(reason, length, events, 9, 0xF00D, detail)
    assert chain.GapRecord.decode(gap.encode()) == gap


@given(st.binary(min_size=1, max_size=20), st.integers(0, 1 << 60), st.binary(max_size=50), st.data())
def test_a_sealed_value_is_bound_to_its_key_and_its_bytes(
    key: bytes, commit: int, payload: bytes, data: st.DataObject
) -> None:
    sealed = codec.seal(key, commit, payload)
    assert codec.unseal(key, sealed) == (commit, payload)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    hit = bytearray(sealed)
    hit[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedBlockError):
        codec.unseal(key, bytes(hit))
    with pytest.raises(DamagedBlockError):
        codec.unseal(key + b"x", sealed)
