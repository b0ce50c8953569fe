"""Streams and keys made from topics."""

from __future__ import annotations

import pytest

from drivers.template import Router


@pytest.mark.parametrize(
    ("stream", "key", "topic", "made"),
    [
        ("site/{1}", "{topic}", "plant/north/flow", ("site/north", "plant/north/flow")),
        ("site", "{0}-{2}", "plant/north/flow", ("site", "plant-flow")),
        ("{topic}", "pump", "plant/north/flow", ("plant/north/flow", "pump")),
        ("site/{1}", "{1}", "plant/straße 5/flow", ("site/stra_e_5", "straße 5")),
        ("site/{3}", "{3}", "plant/north/flow", ("site/_", "")),
        ("site/{1}", "{topic}", "plant//flow", ("site/_", "plant//flow")),
        ("site/{0}", "{0}", "/plant", ("site/_", "")),
    ],
)
def test_words_of_the_topic_make_stream_and_key(stream: str, key: str, topic: str, made: tuple[str, str]) -> None:
    assert Router(stream, key, "field").route(topic) == made
