"""How much longer a stage will take, estimated from how far it has come, and told only when the estimate holds."""

from __future__ import annotations

from collections import deque

from ..util.text import duration_text

# Seconds of work, and share of it, before the rest is estimated: many stages' first steps are unlike the others.
_LEAST, _FIRST = 5.0, 0.05
# An estimate is told while it stays within this share of the time left, or these seconds, which no text is finer
# than, for this share of the stage so far; it is first told at half of that, so that it doesn't come and go.
_STEADY, _FINEST, _WATCHED = 0.2, 5.0, 0.25
# Seconds between two remembered points.
_APART = 0.5
_MOST = 4096


class Remaining:
    """An estimate from the speed over the last half of the time so far.

    That speed follows a change (a table of embeddings, then layers) and yet doesn't jump with every step; if nothing
    comes for long, it falls, and the time left grows. While the estimate moves by more than a fifth, none is told.

    Args:
        now: When the stage began, in seconds.
    """

    def __init__(self, now: float) -> None:
        self._begin(now, 0.0)

    def _begin(self, now: float, share: float) -> None:
        self._points: deque[tuple[float, float]] = deque([(now, share)], maxlen=_MOST)
        self._ends: deque[tuple[float, float]] = deque(maxlen=_MOST)
        self._share, self._last, self._longest, self._told = share, now, 0.0, False

    def update(self, now: float, share: float) -> None:
        """Note that ``share`` (0..1) of the stage is done at ``now`` (seconds).

        If it is less than before, the estimate starts again.
        """
        if share < self._share:
            self._begin(now, share)
        elif share > self._share:
            self._longest = max(self._longest, now - self._last)
            self._share, self._last = share, now
            if now - self._points[-1][0] >= _APART:
                self._points.append((now, share))
        if not self._ends or now - self._ends[-1][0] >= _APART:
            self.seconds(now)  # watched, whether or not somebody asks

    def seconds(self, now: float) -> float | None:
        """Return the seconds left at ``now``; None if nothing can be said yet, or any more."""
        found = self._steady(now)
        self._told = found is not None
        return found

    def _steady(self, now: float) -> float | None:
        left = self._estimate(now)
        if left is None:
            self._ends.clear()
            return None
        if not self._ends or now - self._ends[-1][0] >= _APART:
            self._ends.append((now, now + left))
        ends = tuple(self._ends)
        since = now - max(_LEAST, _WATCHED * (now - self._points[0][0]))
        if ends[0][0] > since:
            return None  # it hasn't been watched for long enough
        watched = [end for at, end in ends if at >= since] or [now + left]
        apart = max(abs(end - now - left) for end in watched)
        if apart > max(_STEADY * left, _FINEST) * (1.0 if self._told else 0.5):
            return None
        return max(0.0, sum(watched) / len(watched) - now)

    def _estimate(self, now: float) -> float | None:
        (began, first), done = self._points[0], self._share
        if now - began < _LEAST or not max(first, _FIRST) <= done < 1.0 or done == first:
            return None
        points = tuple(self._points)  # a bar asks from a thread of its own
        # The time since the last step belongs to the next, unless that already takes longer than any before.
        seen = max(self._last, now - self._longest)
        half = began + (seen - began) / 2
        at, share = next((point for point in reversed(points) if point[0] <= half), points[0])
        if share >= done:  # nothing came in the last half
            at, share = began, first
        return max(0.0, (1.0 - done) * (seen - at) / (done - share) - (now - seen))

    def text(self, now: float) -> str:
        """Return a text such as ``about 3 min left``; empty if nothing can be said yet, or any more."""
        left = self.seconds(now)
        return "" if left is None else f"{duration_text(left)} left"
