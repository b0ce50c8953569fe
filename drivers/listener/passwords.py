"""Users and their passwords: a file of hashes, and checks that keep nobody waiting.

The file
    One user a line, `name:scrypt$n=16384,r=8,p=1$SALT$HASH`, salt (16 bytes) and hash (32 bytes) in base64; empty lines
    and those that begin with # are kept. It is for its owner alone (mode 0600), or it is not used. The command
    `edge mqtt-password FILE NAME` adds a user or changes a password; to remove a user, delete the line. The file is read
    again when it has changed; one that can't be read then leaves everything as it was, and is named in the log.

Checking
    A check takes some 30 ms and 16 MiB (scrypt, RFC 7914), so that a stolen file is of little use, and must not hold up
    those who are connected. So `check` only looks at what is known already, and `step` checks one password: at most one
    step in four of the time is spent with it. What was found is remembered as a keyed digest (BLAKE2b, a key that never
    leaves the process) of the user's line and the password, so that several hundred devices with one user, or ones that
    come back, cost one check each, and a changed line ends what is known of it. A name that is not in the file is checked
    like any other, against a hash made up for it: how long a refusal takes does not tell a stranger which names there are.

Limits
    10,000 users; 10,000 credentials found right and 1,000 found wrong are remembered, the newest; 1,000 wait for a check,
    beyond which clients are told to come again. A line whose parameters ask for more than 64 MiB is refused.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import logging
import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Self

from drivers.contract import DeviceLostError, DriverError

MAX_USERS = 10_000
MAX_NAME_BYTES = 255
MAX_RIGHT = 10_000
MAX_WRONG = 1_000
MAX_WAITING = 1_000
MAX_MEMORY_BYTES = 64 << 20
REST = 3.0
"""After a check, so many times as long without one."""
LOOK_AGAIN_S = 1.0
"""Between two looks at whether the file has changed."""

_N, _R, _P = 16_384, 8, 1
_LINE = re.compile(r"scrypt\$n=(\d{1,7}),r=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/=]{1,128})\$([A-Za-z0-9+/=]{1,128})")

_log = logging.getLogger(__name__)


class PasswordError(DriverError):
    """A user or password that can't be kept, or a file that can't be used."""


class Verdict(Enum):
    RIGHT = "right"
    WRONG = "wrong"
    LATER = "later"
    """It waits for its check: ask again after a step."""
    BUSY = "busy"
    """Too many wait: the client is to come again."""


class Hash(NamedTuple):
    """What is kept of a password."""

    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    @classmethod
    def make(cls, password: bytes, salt: bytes) -> Self:
        unhashed = cls(_N, _R, _P, salt, bytes(32))
        return unhashed._replace(hash=unhashed._of(password))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = _LINE.fullmatch(text)
        if found is None:
            raise ValueError("it is no scrypt hash")
        n, r, p = (int(number) for number in found.groups()[:3])
        salt, hashed = (base64.b64decode(part, validate=True) for part in found.groups()[3:])
        if n < 2 or n & (n - 1) or not r or not p or 128 * r * (n + p) > MAX_MEMORY_BYTES or len(hashed) < 16:
            raise ValueError(f"scrypt can't be computed with n={n}, r={r}, p={p} within {MAX_MEMORY_BYTES >> 20} MiB")
        return cls(n, r, p, salt, hashed)

    def __str__(self) -> str:
        salt, hashed = (base64.b64encode(part).decode() for part in (self.salt, self.hash))
        return f"scrypt$n={self.n},r={self.r},p={self.p}${salt}${hashed}"

    def is_of(self, password: bytes) -> bool:
        return hmac.compare_digest(self._of(password), self.hash)

    def _of(self, password: bytes) -> bytes:
        return hashlib.scrypt(
            password, salt=self.salt, n=self.n, r=self.r, p=self.p, maxmem=2 * MAX_MEMORY_BYTES, dklen=len(self.hash)
        )


def read_users(path: Path) -> dict[str, Hash]:
    """Raises PasswordError, which says what to do."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PasswordError(
            f"{path} can't be read ({error}): make it with edge mqtt-password {path} NAME, readable by this user"
        ) from error
    if mode & 0o077:
        raise PasswordError(f"{path} may be read or written by others (mode {mode & 0o777:03o}): chmod 600 {path}")
    users: dict[str, Hash] = {}
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        name, _, hashed = line.partition(":")
        try:
            users[name] = Hash.parse(hashed)
        except ValueError as error:
            raise PasswordError(
                f"{path}, line {number}: {error}: write it anew with edge mqtt-password {path} {name or 'NAME'}"
            ) from error
    if len(users) > MAX_USERS:
        raise PasswordError(f"{path} has {len(users)} users: at most {MAX_USERS}")
    return users


class Passwords:
    """Checks credentials against the file. `now_s` is monotonic; `key` is secret and of this process alone."""

    def __init__(self, path: Path, source: str, now_s: Callable[[], float], key: bytes) -> None:
        """Raises DeviceLostError where the file can't be used: it may be put right, and is tried again."""
        self._path = path
        self._source = source
        self._now_s = now_s
        self._key = key
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._waiting: OrderedDict[bytes, tuple[Hash, bytes]] = OrderedDict()
        self._rests_until_s = 0.0
        self._looked_s = now_s()
        self._stamp = self._stamp_now()
        try:
            self._users = read_users(path)
        except PasswordError as error:
            raise DeviceLostError(f"source {source}: passwords: {error}") from error

    def check(self, name: str, password: bytes) -> Verdict:
        """What is known of it at once. LATER: it is checked in one of the next steps."""
        user = self._users.get(name, self._made_up(name))
        known = self._digest(user, password)
        if known in self._right:
            self._right.move_to_end(known)
            return Verdict.RIGHT
        if known in self._wrong:
            return Verdict.WRONG
        if known not in self._waiting:
            if len(self._waiting) >= MAX_WAITING:
                return Verdict.BUSY
            self._waiting[known] = (user, password)
        return Verdict.LATER

    def step(self) -> bool:
        """Check one password that waits, if it is time, and look now and then at the file. True: something was found."""
        self._look_at_file()
        began_s = self._now_s()
        if not self._waiting or began_s < self._rests_until_s:
            return False
        known, (user, password) = self._waiting.popitem(last=False)
        found, most = (self._right, MAX_RIGHT) if user.is_of(password) else (self._wrong, MAX_WRONG)
        found[known] = None
        if len(found) > most:
            found.popitem(last=False)
        ended_s = self._now_s()
        self._rests_until_s = ended_s + REST * (ended_s - began_s)
        return True

    @property
    def due_in_s(self) -> float | None:
        """When the next check may be, None where none waits."""
        return max(0.0, self._rests_until_s - self._now_s()) if self._waiting else None

    def _made_up(self, name: str) -> Hash:
        """A hash for a name that may not be there: always the same, no other name's, as costly as those in the file."""
        like = next(iter(self._users.values()), Hash(_N, _R, _P, b"", b""))
        raw = name.encode("utf-8", "surrogatepass")
        made = hashlib.blake2b(raw, key=self._key, person=b"made-up hash", digest_size=48).digest()
        return like._replace(salt=made[:16], hash=made[16:])

    def _digest(self, user: Hash, password: bytes) -> bytes:
        return hashlib.blake2b(str(user).encode() + b"\0" + password, key=self._key, digest_size=32).digest()

    def _look_at_file(self) -> None:
        now_s = self._now_s()
        if now_s - self._looked_s < LOOK_AGAIN_S:
            return
        self._looked_s = now_s
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._users = read_users(self._path)
        except PasswordError as error:
            _log.error("source %s: passwords: %s; the users stay as they were", self._source, error)
        else:
            _log.info("source %s: passwords: %s was read again: %d users", self._source, self._path, len(self._users))

    def _stamp_now(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)


def set_password(path: Path, name: str, password: bytes) -> bool:
    """Add a user or change the password; the file changes whole or not at all. True: the user is new.

    The file keeps its owner, and others may neither read nor write it. Raises PasswordError.
    """
    _check_name(name)
    if not password:
        raise PasswordError("an empty password is none: a device could connect with it by mistake")
    line = f"{name}:{Hash.make(password, os.urandom(16))}"
    try:
        with _alone_in(path.parent) as directory:
            before = path.stat() if path.exists() else None
            lines = path.read_text(encoding="utf-8").splitlines() if before is not None else []
            ours = [index for index, each in enumerate(lines) if each.startswith(f"{name}:")]
            if ours:
                lines[ours[0]] = line
            else:
                lines.append(line)
            _replace(path, "".join(f"{each}\n" for each in lines), before)
            os.fsync(directory)
    except (OSError, UnicodeDecodeError) as error:
        raise PasswordError(
            f"{path} can't be changed ({error}): is the path right, and may this user write?"
        ) from error
    return not ours


def _check_name(name: str) -> None:
    wrong = not name or ":" in name or name.startswith("#") or not name.isprintable()
    if wrong or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise PasswordError(
            f"{name[:40]!r} can't be a user's name: 1 to {MAX_NAME_BYTES} printable bytes, without a colon, and no # first"
        )


@contextmanager
def _alone_in(directory: Path) -> Iterator[int]:
    """Whoever changes a file here at the same time waits for us."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str, before: os.stat_result | None) -> None:
    """Put a file of mode 0600 in the place of `path`, with the owner that it had `before`."""
    descriptor, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(file.fileno(), before.st_uid, before.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(made).replace(path)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise
