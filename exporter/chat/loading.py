"""A runner that is opened while its user is still typing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from ..prove.runner import Runner
from ..util.arrays import FloatArray


class LoadingRunner:
    """A ``Runner`` whose program is opened in a thread; whatever is asked of it waits until that is done.

    Args:
        load: Opens the program.

    Raises:
        GemcutError: From whatever asks the program, if it can't be opened.
    """

    def __init__(self, load: Callable[[], Runner]) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._found: Future[Runner] = self._pool.submit(load)

    @property
    def is_loaded(self) -> bool:
        """Whether nothing waits any more."""
        return self._found.done()

    @property
    def failed(self) -> bool:
        """Whether the program couldn't be opened."""
        return self._found.done() and self._found.exception() is not None

    @property
    def vocab_size(self) -> int:
        """See ``prove.runner.Runner``."""
        return self._found.result().vocab_size

    @property
    def max_context(self) -> int:
        """See ``prove.runner.Runner``."""
        return self._found.result().max_context

    @property
    def prefill_chunk(self) -> int:
        """See ``prove.runner.Runner``."""
        return self._found.result().prefill_chunk

    def prefill(self, ids: Sequence[int], position: int) -> FloatArray:
        """See ``prove.runner.Runner``."""
        return self._found.result().prefill(ids, position)

    def step(self, token: int, position: int) -> FloatArray:
        """See ``prove.runner.Runner``."""
        return self._found.result().step(token, position)

    def close(self) -> None:
        """Free the program, once it is loaded."""
        self._pool.shutdown()
        if self._found.exception() is None:
            self._found.result().close()
