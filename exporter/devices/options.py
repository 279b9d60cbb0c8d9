"""What the user may set for any device."""

from __future__ import annotations

from dataclasses import dataclass

TIMEOUT = 600.0  # seconds that the goldens may take on a device unless the user sets another limit


@dataclass(frozen=True)
class Options:
    """What the user may set for any device.

    Attributes:
        seconds: The time limit of a run; None for ``TIMEOUT``.
        memory: The memory of a virtual machine, as QEMU writes it (``2G``); None for the device's default.
    """

    seconds: float | None = None
    memory: str | None = None

    @property
    def limit(self) -> float:
        """The time limit in seconds."""
        return TIMEOUT if self.seconds is None else self.seconds
