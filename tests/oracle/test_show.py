"""What the demo shows: readable at 80x24, without colour, and in a pipe."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType

from edge.demo.show import PlainShow, result, screen
from edge.demo.story import Outcome, Picture, Standing
from edge.demo.verdict import Verdict

PICTURE = Picture(
    12.3,
    "killed",
    "cut",
    "running",
    (
        Standing("flow", "serial instrument", 1520, 1160, 860),
        Standing("field", "MQTT publishers", 1953, 1953, 1300),
        Standing("doser", "numbered writer", 1300, 1300, 1300),
        Standing("gate", "camera", 350, 310, 200),
    ),
)
STORY = [
    (float(turn), f"Turn {turn} of the story, told in a sentence that is longer than one line has room for.")
    for turn in range(8)
]


def lines(renderable: RenderableType) -> list[str]:
    out = StringIO()
    Console(file=out, width=80, height=24, color_system=None).print(renderable)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_screen_fits_and_says_in_words_what_it_shows_in_colour() -> None:
    shown = lines(screen(PICTURE, STORY, 24))
    assert len(shown) <= 24
    text = "\n".join(shown)
    assert "✗ gateway killed" in text
    assert "╳" in text
    assert "300 waiting" in text
    assert "Turn 7" in text


def test_the_result_names_what_is_wrong() -> None:
    good, bad = Verdict(10, 10), Verdict(10, 9, lost_middle=1, examples=("flow: 4 lost",))
    text = "\n".join(lines(result(Outcome({"flow": good}, (), 20.0, {"flow": "serial instrument"}))))
    assert "Nothing lost" in text
    assert "serial instrument" in text
    outcome = Outcome({"flow": bad}, ("flow: 4 lost",), 20.0, {"flow": "serial instrument"})
    assert not outcome.ok
    assert "✗ flow: 4 lost" in "\n".join(lines(result(outcome)))


def test_a_trouble_beside_the_counts_is_no_success() -> None:
    assert not Outcome({"flow": Verdict(10, 10)}, ("not everything arrived in time",), 90.0).ok


def test_in_a_pipe_each_turn_is_a_line_and_standings_come_seldom() -> None:
    out = StringIO()
    show = PlainShow(out)
    show.say(0.0, "Starting.")
    for _ in range(10):
        show.look(PICTURE)
    assert out.getvalue().splitlines() == [
        "  0.0 s  Starting.",
        " 12.3 s    gateway killed, link cut; flow 1,160 safe, 860 upstream; field 1,953 safe, 1,300 upstream; "
        "doser 1,300 safe, 1,300 upstream; gate 310 safe, 200 upstream",
    ]
