"""The command `edge`: one file for each verb.

Exit codes: 0 fine; 1 it failed or found something; 2 wrong usage or configuration; 3 the daemon cannot be reached. Data
goes to standard output, everything else to standard error. With `--json` a verb prints one object, `tail` and `read`
one per line. A reader that closes the pipe, and Ctrl-C, end it without a word.
"""

from edge.cli.main import main

__all__ = ["main"]
