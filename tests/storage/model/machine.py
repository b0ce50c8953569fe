"""All rules together."""

from __future__ import annotations

from tests.storage.model.breaking import Breaking
from tests.storage.model.reading import Reading
from tests.storage.model.retaining import Retaining
from tests.storage.model.transacting import Transacting


class Machine(Transacting, Reading, Retaining, Breaking):
    """A store and all that happens to it."""
