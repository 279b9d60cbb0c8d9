"""The stage graph, stated once: what an export and a validation do, in order, and what each stage is made from.

The journal, the clock, the estimates and the documentation read it. The stages themselves are functions in
``pipeline``, each from frozen dataclasses to frozen dataclasses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_SERIALIZERS = "pipeline.journal.serializers"


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: The key of its seconds and its memory.
        title: What the user is shown; ``{runtime}``, ``{device}`` and ``{recipe}`` are filled in.
        inputs: The stages whose products it is made from.
        scope: 'export' if it runs once for all bundles, 'bundle' if it runs for each.
        serializer: ``module:Class`` within the package that keeps its product for a run that resumes; empty if the
            product isn't kept.
        timed: False if its parts are timed instead: the runtime names them (``Exporter.steps``).
    """

    name: str
    title: str
    inputs: tuple[str, ...] = ()
    scope: Literal["export", "bundle"] = "export"
    serializer: str = ""
    timed: bool = True


EXPORT: tuple[Stage, ...] = (
    Stage("plan", "Opening the checkpoint"),
    Stage("resume", "Checking what the killed run had finished", ("plan",)),
    Stage("load", "Loading the float model", ("plan",)),
    Stage(
        "reference",
        "Running the float model on the golden prompts",
        ("load",),
        serializer=f"{_SERIALIZERS}:GoldensSerializer",
    ),
    Stage("prompt", "Compiling the chat template", ("reference",), serializer=f"{_SERIALIZERS}:PromptSerializer"),
    Stage("calibrate", "Calibrating on text", ("load",)),
    Stage(
        "build",
        "Building for {runtime}",
        ("calibrate",),
        scope="bundle",
        serializer=f"{_SERIALIZERS}:BuiltSerializer",
        timed=False,
    ),
    Stage(
        "examine",
        "Examining the program",
        ("build",),
        scope="bundle",
        serializer=f"{_SERIALIZERS}:ExaminedSerializer",
        timed=False,
    ),
    Stage("pack", "Packing for {runtime}", ("examine", "reference", "prompt"), scope="bundle"),
    Stage(
        "prove",
        "Proving the packed {runtime} bundle",
        ("pack",),
        scope="bundle",
        serializer=f"{_SERIALIZERS}:ProofSerializer",
    ),
    Stage(
        "measure",
        "Measuring its speed on this host",
        ("pack",),
        scope="bundle",
        serializer=f"{_SERIALIZERS}:SpeedSerializer",
    ),
    Stage(
        "device",
        "Proving the {runtime} bundle on {device}",
        ("prove",),
        scope="bundle",
        serializer=f"{_SERIALIZERS}:VerdictsSerializer",
    ),
    Stage("seal", "Sealing", ("prove", "measure", "device")),
    Stage("budgets", "Checking the {runtime} bundle against its budgets", ("seal",), scope="bundle"),
    Stage("publish", "Publishing", ("seal", "budgets")),
)

VALIDATE: tuple[Stage, ...] = (
    Stage("verify", "Checking every byte"),
    Stage("prove", "Running the goldens", ("verify",)),
    Stage("compare", "Comparing with the exporting machine", ("prove",)),
    Stage("device", "Proving the {runtime} bundle on {device}", ("verify",)),
)


def titles(stages: tuple[Stage, ...]) -> dict[str, str]:
    """Return the title of each stage that is timed, by name."""
    return {stage.name: stage.title for stage in stages if stage.timed}


def by_name(stages: tuple[Stage, ...]) -> Mapping[str, Stage]:
    """Return the stages by name."""
    return {stage.name: stage for stage in stages}


def kept_inputs(name: str, stages: tuple[Stage, ...] = EXPORT) -> tuple[str, ...]:
    """Return the nearest stages before ``name`` whose products are kept, in the table's order.

    A kept product is valid as long as those that it was made from are valid.
    """
    table, found = by_name(stages), set[str]()
    waiting = list(table[name].inputs)
    while waiting:
        stage = table[waiting.pop()]
        if stage.serializer:
            found.add(stage.name)
        else:
            waiting += stage.inputs
    return tuple(stage.name for stage in stages if stage.name in found)
