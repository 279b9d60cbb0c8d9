"""The flags of ``gemcut export`` that belong to one runtime, as its plugin declares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from ..runtimes import RUNTIMES
from ..runtimes.options import RuntimeOption

F = TypeVar("F", bound=Callable[..., Any])


def _all_options() -> list[RuntimeOption]:
    return [option for runtime in RUNTIMES for option in runtime.options]


def runtime_options(function: F) -> F:
    """Add a flag for each option of each runtime."""
    for option in reversed(_all_options()):
        if option.can_refuse:
            name = f"{option.flag}/--no-{option.flag.removeprefix('--')}"
            function = click.option(name, option.name, default=None, help=option.help)(function)
        else:
            function = click.option(option.flag, option.name, is_flag=True, help=option.help)(function)
    return function


def asked_options(flags: Mapping[str, Any]) -> dict[str, bool]:
    """Return the options that the user set, by name."""
    return {
        option.name: bool(flags[option.name])
        for option in _all_options()
        if option.name in flags and (flags[option.name] is not None if option.can_refuse else flags[option.name])
    }
