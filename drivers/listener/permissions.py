"""On which topics a client may publish.

`allow` names topic filters by user: `{ "pump-7" = ["site/pump-7/#"], "*" = ["site/{user}/{client}/+"] }`. A user is who
was authenticated, by password or by the common name of a certificate. Who has no entry of its own has that of "*", as a
client without a user has; where there is none either, nothing is allowed. Without any entry everything is.

`{user}` and `{client}` (the client id) stand for themselves, also as a part of a word. A client chooses its id, so what
stands for it is text: a client called # may publish to no more than another, and one whose id contains a slash, which no
word of a topic does, to nothing that depends on it.

What a publish that is not allowed gets, and that nothing of it is stored, is said in the package's docstring.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from drivers.contract import DriverConfigError
from drivers.topics import is_filter, matches

OTHERS = "*"
CACHED_TOPICS = 64
"""Of each client; one that uses more of them is looked up anew now and then."""

_PLACEHOLDER = re.compile(r"\{client\}|\{user\}")

Allows = Callable[[str], bool]
"""Whether one client may publish on a topic."""


class Permissions:
    """Made once from the configuration."""

    def __init__(self, allow: Mapping[str, Sequence[str]], source: str) -> None:
        """Raises DriverConfigError, naming the filter that is none."""
        for user, filters in allow.items():
            for each in filters:
                if not is_filter(each):
                    raise DriverConfigError(
                        f"source {source}: allow: {user!r}: {each!r} is no topic filter: + stands for one whole word, # "
                        "for the rest, at the end"
                    )
        self._allow = {user: [each.split("/") for each in filters] for user, filters in allow.items()}

    def of(self, user: str | None, client_id: str) -> Allows:
        """What a client may do that was authenticated as `user`; None: it was not."""
        if not self._allow:
            return _everything
        entry = self._allow.get(OTHERS, []) if user is None else self._allow.get(user, self._allow.get(OTHERS, []))
        values = {"{client}": client_id}
        if user is not None:
            values["{user}"] = user
        filled = [_filled(words, values) for words in entry]
        return _Allowed([words for words in filled if words is not None])


class _Allowed:
    def __init__(self, filters: Sequence[Sequence[str | None]]) -> None:
        self._filters = filters
        self._known: dict[str, bool] = {}

    def __call__(self, topic: str) -> bool:
        allowed = self._known.get(topic)
        if allowed is None:
            if len(self._known) >= CACHED_TOPICS:
                self._known.clear()
            allowed = self._known[topic] = any(matches(words, topic) for words in self._filters)
        return allowed


def _everything(topic: str) -> bool:
    return True


def _filled(words: Sequence[str], values: Mapping[str, str]) -> list[str | None] | None:
    """The filter as `topics.matches` takes it. None where it is for clients that have a user, and this one has none."""
    filled: list[str | None] = []
    for word in words:
        if word in ("+", "#"):
            filled.append(None if word == "+" else "#")
            continue
        if "{user}" in word and "{user}" not in values:
            return None
        said = _PLACEHOLDER.sub(lambda found: values[found[0]], word)
        # What a value makes a wildcard of becomes a word that no topic has.
        filled.append(said if said != "#" else "\0")
    return filled
