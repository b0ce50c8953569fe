"""The operation that brings what is durable to a second store in the same process, which is killed with it."""

from __future__ import annotations

from tests.campaign.giving_up import UPSTREAM
from tests.campaign.journal import Did
from tests.campaign.scene import NODE, Scene

UNIT_BYTES = 60_000


def replicate(scene: Scene) -> None:
    """Some units, each acknowledged before the next."""
    hub = scene.hub
    if hub is None:
        return
    for _ in range(scene.random.randint(1, 4)):
        held = hub.holdings(NODE)
        unit = scene.store.next_unit(NODE, held.streams, lambda name: name in UPSTREAM, UNIT_BYTES, held.boots)
        if unit is None:
            return
        hub.submit_unit(unit).result()
        scene.journal.say(Did("mirror a unit"))
