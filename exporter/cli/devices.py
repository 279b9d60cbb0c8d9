"""``gemcut devices``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from . import completed_values as complete
from .common import Group, console_progress, emit, json_option, say

if TYPE_CHECKING:
    from ..devices.base import Need


@click.group(cls=Group)
def command() -> None:
    """List the devices that a bundle can be proven on, or set one up."""


@command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the devices that a bundle can be proven on, what each proves, and what it lacks here.

    Nothing is fetched or started. gemcut devices setup NAME gets what a device lacks.
    """
    from ..devices import DEVICES
    from ..devices.setup import entry
    from .list_documents import DeviceList
    from .views.table import table

    entries = tuple(entry(kind) for kind in DEVICES)
    if as_json:
        emit(DeviceList(entries))
        return
    table(
        (
            (
                f"{one.name}[:{one.argument}]" if one.argument else one.name,
                one.proves,
                one.leaves_out,
                ", ".join(one.ready) or "no",
            )
            for one in entries
        ),
        ("device", "proves", "doesn't prove", "ready here for"),
    )
    for one in entries:
        for what, names in _lacking(one.needs).items():
            say(f"{one.name} lacks {what} (for {', '.join(names)})")
    say("gemcut devices setup NAME gets what a device lacks; gemcut validate BUNDLE --on NAME proves a bundle there.")


@command.command("setup")
@click.argument("name", metavar="DEVICE", shell_complete=complete.DEVICES_TO_SET_UP)
@json_option
def setup_command(name: str, as_json: bool) -> None:
    """Fetch and build everything that DEVICE needs on this machine, through apt, pip and npm.

    Debian's packages are installed as root or by sudo without a password; everything else goes to the cache
    ($GEMCUT_CACHE), checked by hash. What is already there is not changed.
    """
    from ..devices.setup import set_up
    from .list_documents import DeviceSetup

    with console_progress() as progress:
        ready, seconds = set_up(name, progress)
    if as_json:
        emit(DeviceSetup(name, ready, seconds))
        return
    say(f"{name} is ready for {', '.join(ready)} bundles")
    say(f"next: gemcut validate BUNDLE --on {name}")


def _lacking(needs: Mapping[str, Sequence[Need]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for runtime, lacking in needs.items():
        for need in lacking:
            found.setdefault(f"{need.what}: {need.command}", []).append(runtime)
    return found
