"""The Android library that an app ships, run on Linux: natively, or its arm64 build under emulation."""

from __future__ import annotations

from typing import ClassVar

from ..base import Device, DeviceKind
from ..options import Options


class AndroidLibraryKind(DeviceKind):
    """See ``DeviceKind``: the library for this machine's processor."""

    name = "android-lib"
    argument = "LIB"
    proves = "the very libexecutorch.so that apps ship, byte for byte, and its Java classes if a JDK is installed"
    leaves_out = "arm64 kernels; Android's own C library and kernel"
    architecture: ClassVar[str] = ""

    def make(self, text: str, options: Options) -> Device:
        """See ``DeviceKind``."""
        from .device import AndroidDevice
        from .libraries import data
        from .toolchain import machine

        name, _, argument = text.partition(":")
        return AndroidDevice(name, argument or str(data()["default"]), self.architecture or machine(), options.limit)


class Arm64AndroidLibraryKind(AndroidLibraryKind):
    """See ``DeviceKind``: the library for arm64, emulated on other processors."""

    name = "android-lib-arm64"
    proves = "the arm64 library that apps ship, byte for byte, under emulation"
    leaves_out = "Java; Android's own C library and kernel; speed"
    architecture = "aarch64"


LIBRARY = AndroidLibraryKind()
LIBRARY_ARM64 = Arm64AndroidLibraryKind()
