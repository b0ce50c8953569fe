"""Checksums, compression and the seal: the one module that knows google-crc32c and zstandard."""

from __future__ import annotations

import struct
import threading

import google_crc32c
import zstandard

from storage.errors import DamagedBlockError

CODEC_NONE = 0
CODEC_ZSTD = 1

_COMPRESS_FROM_BYTES = 200
"""Below this, a zstd frame's own header eats what it saves."""
_SAMPLE_FROM_BYTES = 128 << 10
"""From here on a look at some places says whether it is worth compressing all of it."""
_SAMPLES = 4
_SAMPLE_BYTES = 4096
_LEVEL = 1
SEAL_FORMAT = 1
_SEAL_HEAD = struct.Struct(">BQ")
_U32 = struct.Struct(">I")

_local = threading.local()
"""A zstandard (de)compressor serves one thread at a time, and takes longer to make than to use."""


def crc32c(data: bytes | memoryview, seed: int = 0) -> int:
    """CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `data`, going on from `seed`."""
    return int(google_crc32c.extend(seed, bytes(data)))


def compress(raw: bytes) -> tuple[int, bytes]:
    """`(codec, body)`: compressed where it saves a tenth or more, as it is otherwise."""
    if len(raw) < _COMPRESS_FROM_BYTES or (len(raw) >= _SAMPLE_FROM_BYTES and not _sample_pays(raw)):
        return CODEC_NONE, raw
    packed = _pack(raw)
    return (CODEC_ZSTD, packed) if _pays(raw, packed) else (CODEC_NONE, raw)


def _sample_pays(raw: bytes) -> bool:
    """Whether a few places of a large body compress: what a camera has encoded does not anywhere."""
    for at in range(0, len(raw) - _SAMPLE_BYTES + 1, len(raw) // _SAMPLES):
        place = raw[at : at + _SAMPLE_BYTES]
        if _pays(place, _pack(place)):
            return True
    return False


def _pays(raw: bytes, packed: bytes) -> bool:
    return len(packed) <= len(raw) - len(raw) // 10


def _pack(raw: bytes) -> bytes:
    compressor = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False)
    packed: bytes = compressor.compress(raw)
    return packed


def decompress(codec: int, body: bytes, raw_bytes: int) -> bytes:
    """The `raw_bytes` bytes that `compress` was given. Raises DamagedBlockError."""
    if codec == CODEC_NONE:
        raw = body
    elif codec == CODEC_ZSTD:
        decompressor = getattr(_local, "decompressor", None)
        if decompressor is None:
            decompressor = _local.decompressor = zstandard.ZstdDecompressor()
        try:
            raw = decompressor.decompress(body, max_output_size=raw_bytes)
        except zstandard.ZstdError as error:
            raise DamagedBlockError(f"a block's body does not decompress: {error}") from error
    else:
        raise DamagedBlockError(f"a block is packed with codec {codec}, which this version does not know")
    if len(raw) != raw_bytes:
        raise DamagedBlockError(f"a block's body is {len(raw)} bytes where its header says {raw_bytes}")
    return raw


def seal(key: bytes, commit: int, payload: bytes) -> bytes:
    """A table value that can be trusted alone: format, the commit that wrote it, payload, CRC-32C over key and all."""
    body = _SEAL_HEAD.pack(SEAL_FORMAT, commit) + payload
    return body + _U32.pack(crc32c(body, crc32c(key)))


def unseal(key: bytes, value: bytes) -> tuple[int, bytes]:
    """`(commit, payload)` of what `seal` made for this key. Raises DamagedBlockError."""
    if len(value) < _SEAL_HEAD.size + _U32.size:
        raise DamagedBlockError(f"the table value under {key[:40]!r} is only {len(value)} bytes")
    body = value[: -_U32.size]
    if crc32c(body, crc32c(key)) != _U32.unpack_from(value, len(body))[0]:
        raise DamagedBlockError(f"the table value under {key[:40]!r} does not match its checksum")
    form, commit = _SEAL_HEAD.unpack_from(body)
    if form != SEAL_FORMAT:
        raise DamagedBlockError(f"the table value under {key[:40]!r} has format {form}, not {SEAL_FORMAT}")
    return commit, body[_SEAL_HEAD.size :]
