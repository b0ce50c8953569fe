"""`python -m tests.drivers.subscriber_campaign [--kills N] [--seed S] [--directory DIRECTORY] [--broken WHICH]`"""

from __future__ import annotations

import sys

from tests.drivers.lives import main
from tests.drivers.subscriber_campaign import __name__ as package
from tests.drivers.subscriber_campaign.broken import BREAKS
from tests.drivers.subscriber_campaign.rounds import run_campaign

if __name__ == "__main__":
    sys.exit(main(package, run_campaign, BREAKS))
