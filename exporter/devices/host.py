"""``host``: this machine itself, on which every proof begins."""

from __future__ import annotations

from ..errors import UsageError
from .base import Device, DeviceKind
from .options import Options


class Host(DeviceKind):
    """See ``DeviceKind``."""

    name = "host"
    proves = "the packed program in the runtimes of PyPI, on this processor"
    leaves_out = "the app's library; another processor's kernels"
    is_host = True

    def make(self, text: str, options: Options) -> Device:
        """Refuse, since there is nothing to make.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{text} is this machine itself: gemcut validate without --on runs there")


DEVICE = Host()
