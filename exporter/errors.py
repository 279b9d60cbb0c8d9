"""The errors that a user can meet, each with its own exit code and a message that says what to do next.

The exit codes are part of the command line's contract:

====  =========================================================================
code  meaning
====  =========================================================================
0     proven
1     a bug in gemcut
2     usage
3     the checkpoint can't be read or is incomplete
4     not supported (the message says what is, and the nearest)
5     the fidelity or behaviour gate failed
6     conformance failed
7     over a budget
8     the environment lacks something (the message says the command that gets it)
130   interrupted (Ctrl-C), as shells have it: 128 + SIGINT
====  =========================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_PROVEN = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_CHECKPOINT = 3
EXIT_UNSUPPORTED = 4
EXIT_GATE = 5
EXIT_CONFORMANCE = 6
EXIT_BUDGET = 7
EXIT_ENVIRONMENT = 8
EXIT_INTERRUPTED = 130


class GemcutError(Exception):
    """An error that is shown to the user as it is, without a traceback.

    Args:
        message: What is wrong, naming the file, tensor or flag.
        hint: What to do next: a command or a flag if there is one.

    Attributes:
        message: As passed in.
        hint: As passed in; None if there is nothing to do.
        exit_code: What the process exits with, by class; see the module's table.
    """

    exit_code = EXIT_BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(GemcutError):
    """A flag or an argument is invalid."""

    exit_code = EXIT_USAGE


class CheckpointError(GemcutError):
    """The checkpoint can't be read or is incomplete."""

    exit_code = EXIT_CHECKPOINT


class UnsupportedError(GemcutError):
    """The input is well formed, but Gemcut doesn't support it."""

    exit_code = EXIT_UNSUPPORTED


class GateError(GemcutError):
    """The packed bundle differs too much from the model: fidelity or behaviour is past a limit."""

    exit_code = EXIT_GATE


class ConformanceError(GemcutError):
    """The bundle behaves differently here than on the machine that exported it, or isn't the same bundle."""

    exit_code = EXIT_CONFORMANCE


class BudgetError(GemcutError):
    """The bundle is proven, but over a budget that the project set."""

    exit_code = EXIT_BUDGET


class LackingError(GemcutError):
    """This machine lacks a package, memory, disk or a network."""

    exit_code = EXIT_ENVIRONMENT


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a text that lists the known names, after the one nearest to what the user wrote.

    Args:
        name: What the user wrote.
        known: The names that would have been accepted.

    Returns:
        A text such as ``"did you mean 'x'? Known: a, x."``, or the list alone if no name is near.
    """
    names = sorted(known)
    listing = f"Known: {', '.join(names)}." if names else "None is known."
    by_folded = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), list(by_folded), n=1, cutoff=0.4)
    return f"did you mean '{by_folded[close[0]]}'? {listing}" if close else listing
