"""The JSON documents of the commands that list what there is, of ``devices setup`` and of ``completion``."""

from __future__ import annotations

from dataclasses import dataclass

from ..devices.setup import DeviceEntry
from ..runtimes import RUNTIMES
from . import target_document

Target = target_document.document_type(RUNTIMES.packaged)


@dataclass(frozen=True)
class TargetList:
    """``gemcut targets --json``.

    Attributes:
        targets: The shipped targets.
    """

    targets: tuple[Target, ...]  # type: ignore[valid-type]


@dataclass(frozen=True)
class DeviceList:
    """``gemcut devices --json``.

    Attributes:
        devices: The kinds of devices.
    """

    devices: tuple[DeviceEntry, ...]


@dataclass(frozen=True)
class CompletionScript:
    """``gemcut completion --json``.

    Attributes:
        shell: The shell.
        script: What that shell runs to complete gemcut's words.
    """

    shell: str
    script: str


@dataclass(frozen=True)
class DeviceSetup:
    """``gemcut devices setup --json``.

    Attributes:
        device: The device.
        ready: The runtimes whose bundles it can prove now.
        seconds: Seconds by step.
    """

    device: str
    ready: tuple[str, ...]
    seconds: dict[str, float]
