"""How much longer a stage will take, estimated from how far it has come."""

from __future__ import annotations

from collections import deque

from ..util.text import duration_text

# Seconds of work, and share of it, before the rest is estimated: many stages' first steps are unlike the others.
_LEAST, _FIRST = 3.0, 0.02
# Seconds between two remembered points.
_APART = 0.5
_MOST = 4096


class Remaining:
    """An estimate from the speed over the last half of the time so far.

    That speed follows a change (a table of embeddings, then layers) and yet doesn't jump with every step; if nothing
    comes for long, it falls, and the time left grows.

    Args:
        now: When the stage began, in seconds.
    """

    def __init__(self, now: float) -> None:
        self._points: deque[tuple[float, float]] = deque([(now, 0.0)], maxlen=_MOST)
        self._share = 0.0

    def update(self, now: float, share: float) -> None:
        """Note that ``share`` (0..1) of the stage is done at ``now`` (seconds).

        If it is less than before, the estimate starts again.
        """
        if share < self._share:
            self._points = deque([(now, share)], maxlen=_MOST)
        elif now - self._points[-1][0] >= _APART:
            self._points.append((now, share))
        self._share = share

    def seconds(self, now: float) -> float | None:
        """Return the seconds left at ``now``; None if nothing can be said yet."""
        points, done = tuple(self._points), self._share  # a bar asks from a thread of its own
        began, first = points[0]
        if now - began < _LEAST or not max(first, _FIRST) <= done < 1.0 or done == first:
            return None
        half = began + (now - began) / 2
        at, share = next((point for point in reversed(points) if point[0] <= half), points[0])
        if share >= done:  # nothing came in the last half
            at, share = began, first
        return (1.0 - done) * (now - at) / (done - share)

    def text(self, now: float) -> str:
        """Return a text such as ``about 3 min left``; empty if nothing can be said yet."""
        left = self.seconds(now)
        return "" if left is None else f"{duration_text(left)} left"
