"""What an export tries after an attempt that lost too much by rounding."""

from __future__ import annotations

from dataclasses import replace

from ..errors import UnsupportedError
from ..util.stage_clock import StageClock
from .bit_search import within_limits
from .failures import GateFailed, TooSensitive
from .plan import has_finer
from .request import ExportRequest

SEARCHES = 3
# Mixes are measured on calibration text, bundles on their goldens: the next search asks for so much of what it should.
_CAUTION = 0.9


class Attempts:
    """The attempts of one export: the target's recipe and its finer ones, or mixes that a search found.

    Args:
        asked: What was asked for.
        clock: Times the searches, and is told why another attempt is made.

    Attributes:
        request: The request of the next attempt.

    Raises:
        GemcutError: A search failed.
    """

    def __init__(self, asked: ExportRequest, clock: StageClock) -> None:
        self._asked, self._clock = asked, clock
        self._aim = asked.max_kl
        self._searches = 0
        self.request = asked
        if asked.max_size is not None or asked.max_kl is not None:
            self._search()

    def _search(self) -> None:
        self._searches += 1
        self.request = within_limits(self._asked, self._clock, self._aim)

    def goes_on(self, error: GateFailed | TooSensitive) -> bool:
        """Return whether there is something finer to try, which is then the next request.

        Raises:
            GemcutError: What is searched couldn't be measured.
        """
        if not error.of_rounding:
            return False
        if self._aim is not None and self._asked.max_kl is not None:
            return self._searched_on(error, self._aim, self._asked.max_kl)
        if self.request.recipe is not None or not has_finer(self.request):
            return False
        self._clock.progress.note(f"{error}; going on to a finer recipe")
        self.request = replace(self.request, finer=self.request.finer + 1)
        return True

    def _searched_on(self, error: GateFailed | TooSensitive, aim: float, limit: float) -> bool:
        """Search for a mix that is better by as much as this one was too bad."""
        if error.nats is None or self._searches == SEARCHES:
            return False
        self._aim = aim * _CAUTION * min(1.0, limit / error.nats)
        self._clock.progress.note(f"{error}; searching for a mix of {self._aim:.2g} nats by calibration text")
        try:
            self._search()
        except UnsupportedError as impossible:
            self._clock.progress.note(f"no mix is better by as much: {impossible.message}")
            return False
        return True
