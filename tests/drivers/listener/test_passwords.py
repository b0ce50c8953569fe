"""Users and passwords: kept as hashes, checked a few at a time, remembered, and read again when the file changes."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.contract import DeviceLostError
from drivers.listener import passwords
from drivers.listener.passwords import Hash, PasswordError, Passwords, Verdict, read_users, set_password

RIGHT, WRONG, LATER, BUSY = Verdict.RIGHT, Verdict.WRONG, Verdict.LATER, Verdict.BUSY


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_N", 16)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "passwords"
    for name in ("pump", "valve"):
        set_password(path, name, name.encode() + b"'s")
    return path


class Time:
    """Monotonic seconds. Each look at it takes `look_s`."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.look_s = 0.0

    def __call__(self) -> float:
        self.now_s += self.look_s
        return self.now_s


class Bench:
    def __init__(self, file: Path) -> None:
        self.time = Time()
        self.passwords = Passwords(file, "local", self.time, b"key")

    def check(self, name: str, password: bytes) -> Verdict:
        """Ask until there is a verdict, as a listener does."""
        verdict = self.passwords.check(name, password)
        while verdict is LATER:
            self.time.now_s += 2
            assert self.passwords.step(), "something waits"
            verdict = self.passwords.check(name, password)
        return verdict

    def look_again(self) -> None:
        self.time.now_s += 2
        self.passwords.step()


def test_a_hash_is_that_of_rfc_7914() -> None:
    # The third test vector of section 12.
    hashed = bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
    line = f"scrypt$n=16384,r=8,p=1${b64encode(b'SodiumChloride').decode()}${b64encode(hashed).decode()}"
    assert Hash.parse(line).is_of(b"pleaseletmein")
    assert not Hash.parse(line).is_of(b"pleaseletmeim")


def test_right_and_wrong(file: Path) -> None:
    bench = Bench(file)
    assert bench.check("pump", b"pump's") is RIGHT
    assert bench.check("pump", b"valve's") is WRONG
    assert bench.check("valve", b"valve's") is RIGHT
    assert bench.check("pump", b"") is WRONG


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, int]]:
    """The cost of each hash that is computed."""
    costs: list[tuple[int, int, int, int]] = []

    def scrypt(password: bytes, *, salt: bytes, n: int, r: int, p: int, maxmem: int, dklen: int) -> bytes:
        costs.append((n, r, p, dklen))
        return compute(password, salt=salt, n=n, r=r, p=p, maxmem=maxmem, dklen=dklen)

    compute = hashlib.scrypt
    monkeypatch.setattr("hashlib.scrypt", scrypt)
    return costs


@pytest.mark.parametrize("name", ["pump", "nobody", "", "\udc80"])
def test_a_name_that_is_not_there_is_refused_as_a_wrong_password_is(
    file: Path, monkeypatch: pytest.MonkeyPatch, computed: list[tuple[int, int, int, int]], name: str
) -> None:
    monkeypatch.setattr(passwords, "_N", 32)
    bench = Bench(file)
    for other in ("valve", "somebody"):
        assert bench.check(other, b"guess") is WRONG
    computed.clear()
    assert bench.passwords.check(name, b"guess") is LATER, "what was found of another name says nothing of it"
    assert bench.check(name, b"guess") is WRONG
    assert computed == [(16, 8, 1, 32)], "the cost of those in the file"
    assert bench.passwords.check(name, b"guess") is WRONG, "remembered"
    assert bench.passwords.due_in_s is None


def test_where_the_file_is_empty_everybody_is_refused_after_a_check(
    tmp_path: Path, computed: list[tuple[int, int, int, int]]
) -> None:
    file = tmp_path / "passwords"
    file.touch(0o600)
    assert Bench(file).check("pump", b"") is WRONG
    assert computed == [(16, 8, 1, 32)]


def test_names_that_are_not_there_wait_in_the_same_queue(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING", 2)
    bench = Bench(file)
    asked = [bench.passwords.check(name, b"guess") for name in ("a", "pump", "b", "valve")]
    assert asked == [LATER, LATER, BUSY, BUSY]


def test_what_was_checked_is_remembered(file: Path) -> None:
    bench = Bench(file)
    bench.check("pump", b"pump's")
    bench.check("pump", b"wrong")
    assert bench.passwords.check("pump", b"pump's") is RIGHT
    assert bench.passwords.check("pump", b"wrong") is WRONG
    assert bench.passwords.check("valve", b"pump's") is LATER


def test_the_same_credentials_of_many_are_checked_once(file: Path) -> None:
    bench = Bench(file)
    for _ in range(passwords.MAX_WAITING + 1):
        assert bench.passwords.check("pump", b"pump's") is LATER
    assert bench.passwords.step()
    assert not bench.passwords.step()


def test_one_step_checks_one_and_then_rests_three_times_as_long(file: Path) -> None:
    bench = Bench(file)
    bench.passwords.check("pump", b"pump's")
    bench.passwords.check("valve", b"valve's")
    bench.time.look_s = 0.1
    assert bench.passwords.step()
    bench.time.look_s = 0
    due_in_s = bench.passwords.due_in_s
    assert due_in_s == pytest.approx(0.3)
    bench.time.now_s += 0.29
    assert not bench.passwords.step()
    bench.time.now_s += 0.02
    assert bench.passwords.step()
    assert (bench.passwords.check("pump", b"pump's"), bench.passwords.check("valve", b"valve's")) == (RIGHT, RIGHT)
    assert bench.passwords.due_in_s is None


def test_no_more_wait_than_may(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING", 3)
    bench = Bench(file)
    asked = [bench.passwords.check("pump", b"%d" % guess) for guess in range(5)]
    assert asked == [LATER, LATER, LATER, BUSY, BUSY]
    assert bench.passwords.check("pump", b"0") is LATER, "it waits already"


def test_of_guesses_only_the_newest_are_remembered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_WRONG", 2)
    monkeypatch.setattr(passwords, "MAX_RIGHT", 1)
    bench = Bench(file)
    bench.check("pump", b"pump's")
    for guess in (b"1", b"2", b"3"):
        bench.check("pump", guess)
    assert [bench.passwords.check("pump", guess) for guess in (b"1", b"2", b"3")] == [LATER, WRONG, WRONG]
    assert bench.passwords.check("pump", b"pump's") is RIGHT, "guesses push out no right ones"
    bench = Bench(file)
    bench.check("pump", b"pump's")
    bench.check("valve", b"valve's")
    assert bench.passwords.check("pump", b"pump's") is LATER


def test_a_changed_file_is_read_again(file: Path) -> None:
    bench = Bench(file)
    bench.check("pump", b"pump's")
    set_password(file, "pump", b"new")
    set_password(file, "more", b"more's")
    bench.look_again()
    assert bench.check("pump", b"pump's") is WRONG
    assert bench.check("pump", b"new") is RIGHT
    assert bench.check("more", b"more's") is RIGHT
    file.write_text("# nobody\n")
    bench.look_again()
    assert bench.check("pump", b"new") is WRONG


def test_a_password_that_changes_while_it_waits_is_checked_against_the_new_one(file: Path) -> None:
    bench = Bench(file)
    assert bench.passwords.check("pump", b"pump's") is LATER
    set_password(file, "pump", b"new")
    bench.look_again()
    assert bench.check("pump", b"pump's") is WRONG


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.unlink(), "edge mqtt-password"),
        (lambda file: file.chmod(0o640), "chmod 600"),
        (lambda file: file.write_text("pump:secret\n"), "line 1"),
    ],
    ids=["gone", "for others to read", "no hash"],
)
def test_a_file_that_can_not_be_used_leaves_things_as_they_were(
    file: Path, spoil: Callable[[Path], None], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(file)
    spoil(file)
    bench.look_again()
    bench.look_again()
    assert [said in record.message for record in caplog.records if record.levelno == logging.ERROR] == [True]
    assert bench.check("pump", b"pump's") is RIGHT
    with pytest.raises(DeviceLostError, match=said):
        Bench(file)
    file.unlink(missing_ok=True)
    set_password(file, "pump", b"new")
    bench.look_again()
    assert bench.check("pump", b"new") is RIGHT


@pytest.mark.parametrize(
    "line",
    [
        "pump", "pump:", "pump:scrypt$n=16,r=8,p=1$AAAA", "pump:scrypt$n=17,r=8,p=1$AAAA$" + "A" * 44,
        "pump:scrypt$n=1048576,r=8,p=1$AAAA$" + "A" * 44, "pump:scrypt$n=16,r=8,p=1$AAAA$AAAA",
        "pump:scrypt$n=16,r=0,p=1$AAAA$" + "A" * 44, "pump:scrypt$n=16,r=8,p=1$A===$" + "A" * 44,
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_named(file: Path, line: str) -> None:
    file.write_text(f"# users\n\n{line}\n")
    with pytest.raises(PasswordError, match=r"line 3.*edge mqtt-password"):
        read_users(file)


def test_there_are_only_so_many_users(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_USERS", 1)
    with pytest.raises(PasswordError, match="2 users"):
        read_users(file)


# Changing the file


def test_a_password_is_added_and_changed_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    assert set_password(file, "pump", b"1")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("# ours\n" + file.read_text() + "\n# last")
    assert set_password(file, "pum", b"2")
    before = file.read_text().splitlines()
    assert not set_password(file, "pump", b"3")
    after = file.read_text().splitlines()
    assert [line.split(":")[0] for line in after] == ["# ours", "pump", "", "# last", "pum"]
    assert [new == old for new, old in zip(after, before, strict=True)] == [True, False, True, True, True]
    assert b"1" not in file.read_bytes().split(b"$")[0]
    assert read_users(file)["pump"].is_of(b"3")
    assert list(tmp_path.iterdir()) == [file]


def test_two_equal_passwords_are_not_seen_to_be_equal(file: Path) -> None:
    set_password(file, "pump", b"same")
    set_password(file, "valve", b"same")
    users = read_users(file)
    assert users["pump"].hash != users["valve"].hash


@pytest.mark.parametrize("name", ["", "a:b", "#a", "a\nb", "a\0", "ü" * 128, "\udc80"])
def test_a_name_that_the_file_can_not_hold_is_refused(file: Path, name: str) -> None:
    before = file.read_bytes()
    with pytest.raises(PasswordError, match="can't be a user's name"):
        set_password(file, name, b"x")
    assert file.read_bytes() == before


def test_an_empty_password_is_refused(file: Path) -> None:
    with pytest.raises(PasswordError, match="empty"):
        set_password(file, "pump", b"")


def test_a_path_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(PasswordError, match="no/such"):
        set_password(tmp_path / "no/such", "pump", b"x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to somebody else")
def test_the_file_stays_its_owners(file: Path) -> None:
    os.chown(file, 12345, 54321)
    set_password(file, "pump", b"x")
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 54321)


@pytest.mark.long
def test_of_many_who_change_the_file_at_once_none_is_lost(file: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from drivers.listener import passwords; passwords._N = 16\n"
        "for n in range(15): passwords.set_password(Path(sys.argv[1]), f'{sys.argv[2]}-{n}', b'x')"
    )
    adding = [subprocess.Popen([sys.executable, "-c", script, str(file), name]) for name in "abcd"]
    assert [each.wait(60) for each in adding] == [0] * 4
    assert len(read_users(file)) == 2 + 4 * 15
