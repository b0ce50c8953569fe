"""MQTT topic filters (MQTT 3.1.1, 4.7; MQTT 5, 4.7)."""

from __future__ import annotations

from collections.abc import Sequence

MAX_TOPIC_BYTES = 65_535


def is_filter(topic: str) -> bool:
    """Whether it is a topic filter: + stands for one whole word, # for the rest, at the end."""
    words = topic.split("/")
    whole = all(word in ("+", "#") or not set(word) & set("+#") for word in words)
    return (
        whole and bool(topic) and "#" not in words[:-1] and "\0" not in topic and len(topic.encode()) <= MAX_TOPIC_BYTES
    )


def matches(words: Sequence[str | None], topic: str) -> bool:
    """Whether `topic` is one that a filter takes in. `words` are the filter's, None for +, the last "#" for the rest.

    A wildcard at the begin takes in no topic that begins with `$` (4.7.2).
    """
    said = topic.split("/")
    rest = bool(words) and words[-1] == "#"
    wanted = words[:-1] if rest else words
    if topic.startswith("$") and (not wanted or wanted[0] is None):
        return False
    if len(said) < len(wanted) or (len(said) > len(wanted) and not rest):
        return False
    return all(word is None or word == here for word, here in zip(wanted, said, strict=False))
