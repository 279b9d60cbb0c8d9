"""The Android library that an app ships, run on Linux: natively, or its arm64 build under emulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .. import Options
    from .device import AndroidDevice


def make(text: str, options: Options) -> AndroidDevice:
    """The device for ``android-lib[:LIB]`` or ``android-lib-arm64[:LIB]``; nothing is fetched or built.

    Args:
        text: As the user wrote it.
        options: Its time limit.
    """
    from .device import AndroidDevice
    from .libraries import data
    from .toolchain import machine

    name, _, argument = text.partition(":")
    arch = "aarch64" if name == "android-lib-arm64" else machine()
    return AndroidDevice(name, argument or str(data()["default"]), arch, options.limit)
