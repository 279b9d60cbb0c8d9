"""Where bundles can be run, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import UnsupportedError, UsageError
from ..util.registry import Registry
from .options import TIMEOUT, Options

if TYPE_CHECKING:
    from .base import Device, DeviceKind

HOST = "host"
DEVICES: Registry[DeviceKind] = Registry(
    "device",
    "gemcut.devices",
    {
        HOST: ".host:DEVICE",
        "android-lib": ".android:LIBRARY",
        "arm64-user": ".arm64:DEVICE",
        "android-lib-arm64": ".android:LIBRARY_ARM64",
        "arm64-vm": ".vm:DEVICE",
        "adb": ".adb:DEVICE",
    },
    __name__,
)


def kind_of(text: str) -> DeviceKind:
    """Return the kind that ``NAME[:ARGUMENT]`` names.

    Raises:
        UnsupportedError: There is no kind of that name; the message has the nearest.
        UsageError: The argument is empty, or the kind takes none.
    """
    name, colon, argument = text.partition(":")
    try:
        kind = DEVICES.get(name)
    except UnsupportedError as error:
        raise UnsupportedError(error.message, hint="See gemcut devices for a list.") from error
    if colon and not kind.argument:
        raise UsageError(f"--on {text}: {name} takes nothing after its name")
    if colon and not argument:
        raise UsageError(f"--on {text}: {kind.argument} is missing after the colon")
    return kind


def make_device(text: str, options: Options | None = None) -> Device:
    """Return the device that ``NAME[:ARGUMENT]`` names; nothing is fetched or started.

    Raises:
        UnsupportedError: There is no device of that name.
        UsageError: The device can't take that argument or option, or is this machine itself.
    """
    kind, options = kind_of(text), options or Options()
    if kind.is_host:
        raise UsageError(f"{text} is this machine itself: gemcut validate without --on runs there")
    if not kind.takes_memory:
        options = replace(options, memory=None)
    return kind.make(text, options)


__all__ = ["DEVICES", "HOST", "TIMEOUT", "Options", "kind_of", "make_device"]
