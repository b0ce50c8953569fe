"""The envelope around every message between a gateway and a hub: what it is, how long, and whether it arrived whole."""

from __future__ import annotations

import json
import struct
import zlib
from enum import Enum

from storage.model import MAX_APPEND_BYTES
from sync.contract import SyncError

MAGIC = b"EDGM"
VERSION = 3
MEDIA_TYPE = "application/vnd.edge.mirror"

MAX_UNIT_BYTES = MAX_APPEND_BYTES + (32 << 20)
"""The largest message. A unit is at least one commit; a commit is one submission and what was packed around it."""
MAX_HELLO_BYTES = 64 << 10
MAX_HOLDINGS_BYTES = 32 << 20
"""Some 200,000 streams of one node."""

_HEADER = struct.Struct(">4sBBBxIII")
HEADER_BYTES = _HEADER.size


class Kind(Enum):
    """What a message is."""

    HELLO = 1
    UNIT = 2
    HOLDINGS = 3


class Limit(Enum):
    """How large a message of each kind may be, in bytes."""

    HELLO = MAX_HELLO_BYTES
    UNIT = MAX_UNIT_BYTES
    HOLDINGS = MAX_HOLDINGS_BYTES


class WireError(SyncError):
    """A message that can't be read: truncated, damaged, too large, of another version, or none of ours."""


class WireVersionError(WireError):
    """A message of a version that this program does not speak."""


def seal(kind: Kind, head: dict[str, object], body: bytes = b"") -> bytes:
    """The message of `kind` with a JSON `head` and a binary `body`."""
    text = json.dumps(head, separators=(",", ":")).encode()
    content = b"".join((text, body))
    size = HEADER_BYTES + len(content)
    limit = Limit[kind.name].value
    if size > limit:
        raise WireError(f"a {kind.name.lower()} message of {size} bytes: at most {limit} can be sent")
    return _header(kind, len(text), len(body), content) + content


def unseal(kind: Kind, message: bytes) -> tuple[dict[str, object], memoryview]:
    """Head and body of a message of `kind`. Raises WireError, WireVersionError."""
    what = f"a {kind.name.lower()} message"
    if len(message) < HEADER_BYTES:
        raise WireError(f"{what} of {len(message)} bytes ends within its header of {HEADER_BYTES}")
    magic, version, number, codec, head_bytes, body_bytes, _ = _HEADER.unpack_from(message)
    if magic != MAGIC:
        raise WireError(f"{what} starts with {magic!r} where {MAGIC!r} should be: this is not a mirror message")
    if version != VERSION or codec != 0:
        raise WireVersionError(
            f"{what} of version {version}, codec {codec}; this program speaks version {VERSION}, codec 0: "
            "install the same release on the gateway and the hub"
        )
    size, limit = HEADER_BYTES + head_bytes + body_bytes, Limit[kind.name].value
    if size > limit:
        raise WireError(f"{what} that announces {size} bytes: at most {limit} are accepted")
    if len(message) != size:
        raise WireError(f"{what} announces {size} bytes and {len(message)} arrived")
    content = memoryview(message)[HEADER_BYTES:]
    if _header(Kind(number) if number in _NUMBERS else kind, head_bytes, body_bytes, content) != message[:HEADER_BYTES]:
        raise WireError(f"{what} of {size} bytes arrived damaged: its CRC-32 does not match")
    if number != kind.value:
        raise WireError(f"{what} was expected and a {Kind(number).name.lower()} message arrived")
    return _head(what, bytes(content[:head_bytes])), content[head_bytes:]


_NUMBERS = frozenset(kind.value for kind in Kind)


def _header(kind: Kind, head_bytes: int, body_bytes: int, content: bytes | memoryview) -> bytes:
    bare = _HEADER.pack(MAGIC, VERSION, kind.value, 0, head_bytes, body_bytes, 0)
    return bare[:-4] + struct.pack(">I", zlib.crc32(content, zlib.crc32(bare[:-4])))


def _head(what: str, text: bytes) -> dict[str, object]:
    try:
        head = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"{what} whose head is no JSON: {error}") from error
    if not isinstance(head, dict):
        raise WireError(f"{what} whose head is a {type(head).__name__}, not an object")
    return head
