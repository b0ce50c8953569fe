"""Who may publish where, by user, client id and topic filter."""

from __future__ import annotations

import pytest

from drivers.contract import DriverConfigError
from drivers.listener.permissions import CACHED_TOPICS, Permissions

ALLOW = {
    "pump-7": ["site/pump-7/#", "+/common"],
    "fleet": ["fleet/{client}/#", "fleet/x-{client}-{user}/+"],
    "silent": [],
    "*": ["open/{client}", "own/{user}/{client}"],
}


@pytest.mark.parametrize(
    ("user", "client", "topic", "allowed"),
    [
        ("pump-7", "c", "site/pump-7/a/b", True),
        ("pump-7", "c", "site/pump-7", True),
        ("pump-7", "c", "site/pump-7/", True),
        ("pump-7", "c", "site/pump-70/a", False),
        ("pump-7", "c", "site", False),
        ("pump-7", "c", "any/common", True),
        ("pump-7", "c", "/common", True),
        ("pump-7", "c", "any/other/common", False),
        ("pump-7", "c", "any/common/more", False),
        ("pump-7", "c", "$SYS/common", False),
        ("pump-7", "c", "open/c", False),
        ("fleet", "lorry", "fleet/lorry/gps", True),
        ("fleet", "lorry", "fleet/other/gps", False),
        ("fleet", "lorry", "fleet/x-lorry-fleet/gps", True),
        ("fleet", "lorry", "fleet/{client}/gps", False),
        ("fleet", "+", "fleet/other/gps", False),
        ("fleet", "#", "fleet/other/gps", False),
        ("fleet", "a/b", "fleet/a/b", False),
        ("fleet", "{user}", "fleet/fleet/gps", False),
        ("silent", "c", "open/c", False),
        ("other", "c", "open/c", True),
        ("other", "c", "own/other/c", True),
        ("other", "#", "open/c", False),
        ("other", "#", "own/other/c", False),
        (None, "c", "open/c", True),
        (None, "c", "open/d", False),
        (None, "c", "own//c", False),
        (None, "c", "own/{user}/c", False),
    ],
)
def test_who_may_publish_where(user: str | None, client: str, topic: str, allowed: bool) -> None:
    allows = Permissions(ALLOW, "local").of(user, client)
    assert [allows(topic), allows(topic)] == [allowed, allowed]


def test_without_any_entry_everything_is_allowed() -> None:
    assert Permissions({}, "local").of(None, "c")("$SYS/x")


def test_who_has_no_entry_where_there_is_none_for_others_may_do_nothing() -> None:
    permissions = Permissions({"pump-7": ["#"]}, "local")
    assert permissions.of("pump-7", "c")("a/b")
    assert not permissions.of("pump-7", "c")("$SYS")
    assert not permissions.of("other", "c")("a/b")
    assert not permissions.of(None, "c")("a/b")


def test_only_so_many_topics_are_remembered_and_all_are_judged() -> None:
    allows = Permissions({"*": ["a/+"]}, "local").of(None, "c")
    for number in range(3 * CACHED_TOPICS):
        assert allows(f"a/{number}")
        assert not allows(f"b/{number}")
    assert len(allows._known) <= CACHED_TOPICS  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", ["", "a/#/b", "a+/b", "a/b#", "#/", "a\0"])
def test_what_is_no_filter_is_named(wrong: str) -> None:
    with pytest.raises(DriverConfigError, match=r"source local: allow: 'pump'.*is no topic filter"):
        Permissions({"pump": ["a", wrong]}, "local")
