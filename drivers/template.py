"""Stream names and routing keys made from topics: `site/{1}`, `{topic}`."""

from __future__ import annotations

import re
from functools import lru_cache

from drivers.contract import DriverConfigError
from storage.errors import InvalidNameError
from storage.model import check_stream_name, stream_word

CACHED_TOPICS = 4096

_PLACE = re.compile(r"\{([^{}]*)\}")


class Template:
    """Text with places for words of a topic. A word that the topic does not have is empty (in a stream name: `_`)."""

    def __init__(self, text: str) -> None:
        """Raises ValueError where a place is neither a number nor `topic`."""
        for place in _PLACE.findall(text):
            if place != "topic" and not (place.isascii() and place.isdigit()):
                raise ValueError(f"{{{place}}} is no place for a word of the topic: use {{topic}}, or {{0}}, {{1}} …")
        if set("{}") & set(_PLACE.sub("", text)):
            raise ValueError(f"{text!r} has a brace without its other half")
        self._text = text

    def key(self, topic: str) -> str:
        """The words as they are."""
        words = topic.split("/")
        return _PLACE.sub(lambda match: topic if match[1] == "topic" else _word(words, int(match[1])), self._text)

    def stream(self, topic: str) -> str:
        """With everything that no stream name holds as `_`."""
        words = [stream_word(word) for word in topic.split("/")]
        whole = "/".join(words)
        return _PLACE.sub(
            lambda match: whole if match[1] == "topic" else _word(words, int(match[1])) or "_", self._text
        )


def _word(words: list[str], index: int) -> str:
    return words[index] if index < len(words) else ""


class Router:
    """Says into which stream and under which key a topic's messages go. Remembers the newest topics."""

    def __init__(self, stream: str, key: str, source: str) -> None:
        """Raises DriverConfigError where a template, or a stream name made with it, is wrong."""
        try:
            stream_template, key_template = Template(stream), Template(key)
            check_stream_name(stream_template.stream("a/b"))
        except (ValueError, InvalidNameError) as error:
            raise DriverConfigError(f"source {source}: stream = {stream!r}, key = {key!r}: {error}") from error

        @lru_cache(maxsize=CACHED_TOPICS)
        def route(topic: str) -> tuple[str, str]:
            return stream_template.stream(topic), key_template.key(topic)

        self.route = route
