"""What a kind of device lacks on this machine, and how to get it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LackingError, UnsupportedError
from ..runtimes import find_runtime, runtime_names
from ..util.stage_clock import StageClock
from . import kind_of, make_device
from .base import Device, DeviceKind, Need

if TYPE_CHECKING:
    from ..util.progress import Progress


_TITLES = {"packages": "Installing {packages}", "runtime": "Making {spec} ready for {runtime}"}


@dataclass(frozen=True)
class DeviceEntry:
    """A kind of device.

    Attributes:
        name: Its name, as ``--on`` takes it.
        argument: What may follow its name and a colon; empty if nothing may.
        proves: What it proves.
        leaves_out: What it doesn't prove.
        ready: The runtimes whose bundles it can prove here now.
        needs: What this machine lacks for it, by runtime.
    """

    name: str
    argument: str
    proves: str
    leaves_out: str
    ready: tuple[str, ...]
    needs: dict[str, tuple[Need, ...]]


def entry(kind: DeviceKind) -> DeviceEntry:
    """Return a kind of device as ``gemcut devices`` lists it."""
    if kind.is_host:
        needs = {name: _host_needs(name) for name in runtime_names()}
    else:
        device = make_device(kind.name)
        needs = {name: device.needs(name) for name in device.runtimes}
    ready = tuple(name for name, lacking in needs.items() if not any(not need.optional for need in lacking))
    return DeviceEntry(kind.name, kind.argument, kind.proves, kind.leaves_out, ready, needs)


def lacking_for(kind: DeviceKind) -> list[str]:
    """Return what this machine lacks for a kind of device, each once; nothing is fetched or started."""
    device = make_device(kind.name)
    needs = (need for name in device.runtimes for need in device.needs(name) if not need.optional)
    return list(dict.fromkeys(need.what for need in needs))


def _host_needs(runtime: str) -> tuple[Need, ...]:
    try:
        find_runtime(runtime).version()
    except LackingError as error:
        return (Need(f"the {runtime} runtime", error.hint or find_runtime(runtime).install),)
    return ()


def set_up(spec: str, progress: Progress) -> tuple[tuple[str, ...], dict[str, float]]:
    """Get what a device lacks here: Debian's packages, then what it fetches and builds itself.

    Args:
        spec: The device, as ``--on`` takes it.
        progress: Receives the steps.

    Returns:
        The runtimes whose bundles it can prove now, and the seconds of each step.

    Raises:
        LackingError: Something can't be got; the hint is the command that would get it.
    """
    from ..util.fetching import apt_install

    if kind_of(spec).is_host:
        return tuple(name for name in runtime_names() if not _host_needs(name)), {}
    clock, device = StageClock(progress, _TITLES), make_device(spec)
    packages = sorted({need.package for name in device.runtimes for need in device.needs(name) if need.package})
    if packages:
        with clock.stage("packages", packages=", ".join(packages)):
            apt_install(packages, progress)
    for runtime in _runnable(device):
        lacking = [need for need in device.needs(runtime) if not need.optional]
        if lacking:
            raise LackingError(f"{spec} still needs {lacking[0].what}", hint=lacking[0].command)
        if not kind_of(spec).here:
            continue  # what a phone needs is made once there is one
        with clock.stage("runtime", runtime, spec=spec, runtime=runtime), tempfile.TemporaryDirectory() as work:
            _try_out(spec, runtime, Path(work), progress)
    return _runnable(device), clock.seconds


def _try_out(spec: str, runtime: str, work: Path, progress: Progress) -> None:
    device = make_device(spec)
    try:
        device.prepare(runtime, work, progress)
        device.facts(runtime)
    finally:
        device.close()


def _runnable(device: Device) -> tuple[str, ...]:
    """The runtimes that the device's processor can run."""
    found = []
    for name in device.runtimes:
        try:
            device.refuse(name, "")
        except UnsupportedError:
            continue
        found.append(name)
    return tuple(found)
