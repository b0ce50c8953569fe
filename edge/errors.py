"""What can go wrong at the top, each with what a person can do about it."""

from __future__ import annotations


class EdgeError(Exception):
    """Base of everything that `edge` raises on purpose. `str()` says what failed, where, and what to do."""


class ConfigurationError(EdgeError):
    """The configuration can't be used. `problems` holds one line for each thing that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DaemonUnreachableError(EdgeError):
    """Nobody answers at the local socket."""


class RequestRefusedError(EdgeError):
    """The daemon answered that it won't. `status` is the HTTP status, the text is the daemon's own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class UnknownNameError(EdgeError):
    """There is no source or upstream of that name."""


class TransactionRefusedError(EdgeError):
    """These streams can't be in one transaction, or what was asked of a transaction can't be done."""


class ListenError(EdgeError):
    """An address or a socket that can't be listened at."""
