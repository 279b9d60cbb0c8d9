"""Which runtimes a device can run: those whose golden runner it knows how to start."""

from __future__ import annotations

from ..errors import UnsupportedError
from ..runtimes import RUNTIMES, find_runtime
from ..runtimes.golden_runner import GoldenRunner


def runtimes_with(*kinds: type[GoldenRunner]) -> tuple[str, ...]:
    """Return the names of the runtimes whose golden runner is of one of these kinds."""
    return tuple(runtime.name for runtime in RUNTIMES if isinstance(runtime.golden_runner, kinds))


def golden_runner(runtime: str, spec: str) -> GoldenRunner:
    """Return a runtime's golden runner.

    Raises:
        UnsupportedError: The runtime has none, so the device can't run its bundles.
    """
    found = find_runtime(runtime).golden_runner
    if found is None:
        raise UnsupportedError(
            f"{spec} can't run {runtime} bundles: the runtime has no golden runner",
            hint="See gemcut devices for what each device proves.",
        )
    return found
