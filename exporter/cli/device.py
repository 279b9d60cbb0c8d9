"""``gemcut device``."""

from __future__ import annotations

import click

from .common import CommandGroup, console_progress, emit, json_option, say


@click.group(cls=CommandGroup)
def command() -> None:
    """Set up a device; gemcut devices lists them."""


@command.command("setup")
@click.argument("name", metavar="DEVICE")
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
