"""Arguments and flags that several commands have, said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from . import completed_values as complete
from .common import Function

DEFAULT_TARGET = "android-arm64"  # what most who ask have in mind

model_argument = click.argument("model", required=False, shell_complete=complete.MODELS)
bundle_argument = click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete.BUNDLES)
bundles_argument = click.argument(
    "bundles",
    nargs=-1,
    required=True,
    metavar="BUNDLE...",
    type=click.Path(path_type=Path),
    shell_complete=complete.BUNDLES,
)
adapter_option = click.option(
    "--adapter",
    metavar="DIR|sample",
    shell_complete=complete.ADAPTERS,
    help="A PEFT adapter (LoRA, rsLoRA, DoRA) to merge into MODEL.",
)
recipe_option = click.option(
    "--recipe",
    metavar="NAME|FILE.toml",
    shell_complete=complete.RECIPES,
    help="How to quantize; see gemcut recipes. Default: the target's.",
)


def target_option(
    default: str | None = None, what: str = "The kind of device; see gemcut targets."
) -> Callable[[Function], Function]:
    """Return ``--target``; with a default, which is then shown, for commands that only estimate."""
    return click.option(
        "--target",
        default=default,
        show_default=default is not None,
        metavar="NAME|FILE.toml",
        shell_complete=complete.TARGETS,
        help=what,
    )
