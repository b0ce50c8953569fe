"""`python -m tests.drivers.file_campaign [--kills N] [--seed S] [--directory DIRECTORY] [--broken WHICH]`"""

from __future__ import annotations

import sys

from tests.drivers.file_campaign import __name__ as package
from tests.drivers.file_campaign.broken import BREAKS
from tests.drivers.file_campaign.rounds import run_campaign
from tests.drivers.lives import main

if __name__ == "__main__":
    sys.exit(main(package, run_campaign, BREAKS))
