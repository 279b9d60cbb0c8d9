"""Options of one runtime: each is stated once, and becomes a flag, a key of gemcut.toml, and a key of a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Keys of gemcut.toml and parameters of ``gemcut export`` that are there already.
RESERVED = frozenset(
    {
        "adapter",
        "as_json",
        "baseline",
        "budgets",
        "built_in_prompts",
        "calibration",
        "chat_template",
        "context",
        "device_memory",
        "dry_run",
        "force",
        "form",
        "format",
        "fresh",
        "gate",
        "golden_prompts",
        "html",
        "junit",
        "locked",
        "max_kl",
        "max_size",
        "model",
        "only",
        "output",
        "prefill_lengths",
        "prove_on",
        "recipe",
        "runtime",
        "runtimes",
        "sarif",
        "summary",
        "target",
        "timeout",
        "verbose",
    }
)


@dataclass(frozen=True)
class RuntimeOption:
    """An option of a runtime, off unless it is chosen.

    Attributes:
        name: The key in ``gemcut.toml`` and in a target's table, such as ``dynamic_shape``.
        help: What ``gemcut export --help`` says of its flag.
        description: What the schema of ``gemcut.toml`` says of its key.
        in_target: What the schema of targets says of its key in the runtime's table; empty if no target may choose it.
        can_refuse: Whether it has a second flag, ``--no-NAME``, that overrides a target's choice.
    """

    name: str
    help: str
    description: str
    in_target: str = ""
    can_refuse: bool = False

    @property
    def flag(self) -> str:
        """The flag that sets it, such as ``--dynamic-shape``."""
        return "--" + self.name.replace("_", "-")


def chosen(
    options: tuple[RuntimeOption, ...], by_target: Mapping[str, bool], asked: Mapping[str, bool]
) -> dict[str, Any]:
    """Return the value of each option: what was asked for, else what the target chooses, else off."""
    return {each.name: asked.get(each.name, by_target.get(each.name, False)) for each in options}
