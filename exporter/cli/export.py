"""``gemcut export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_PROVEN, UsageError
from ..project.place import FILE as PROJECT_FILE
from ..project.place import project_root
from ..report.formats import FORMATS
from ..runtimes import DEFAULT, runtime_names
from . import completed_values as complete
from .common import (
    Command,
    console_progress,
    device_options,
    emit,
    json_option,
    parse_devices,
    say,
    warn,
    warn_unproven,
)
from .reporting import report_options, reporting
from .runtime_options import asked_options, runtime_options
from .shared_options import adapter_option, model_argument, recipe_option, target_option

if TYPE_CHECKING:
    from ..pipeline.request import ExportRequest, Published
    from .reporting import Report

_OF_PROJECTS = ("only", "locked")


@click.command(cls=Command)
@model_argument
@target_option()
@click.option(
    "--runtime",
    default=DEFAULT,
    show_default=True,
    metavar="NAME[,NAME]",
    shell_complete=complete.RUNTIMES,
    help=f"The runtimes that it is made for: {', '.join(runtime_names())}.",
)
@adapter_option
@recipe_option
@click.option(
    "--max-size",
    metavar="SIZE",
    help="Instead of a recipe: search for the mix of 4 and 8 bits with the least error whose bundle has at most this "
    "size, as in '180 MB'.",
)
@click.option(
    "--max-kl",
    type=click.FloatRange(min=0, min_open=True),
    metavar="NATS",
    help="Instead of a recipe: search for the smallest mix that diverges no more from the float model on average.",
)
@click.option(
    "--calibration",
    metavar="FILE.txt|quick|none",
    shell_complete=complete.words_or("file", "quick", "none"),
    help="Text to calibrate on, such as the model will see; quick: some of the text that ships, by faster methods; "
    "none: plain rounding. Default: the text that ships.",
)
@click.option(
    "--golden-prompts",
    metavar="FILE.jsonl",
    shell_complete=complete.FILES,
    help="Prompts to prove the bundle with, a JSON object a line, and the answers that are expected. "
    "Default: golden_prompts.jsonl beside the adapter or the checkpoint.",
)
@click.option(
    "--built-in-prompts",
    type=click.Choice(["all", "english", "none"]),
    default="all",
    show_default=True,
    help="Which of Gemcut's own prompts may be taken as well.",
)
@click.option("--context", type=click.IntRange(min=1), help="Tokens of prompt and reply. Default: the target's.")
@click.option(
    "--prefill-lengths",
    metavar="N[,N]",
    help="For LiteRT the tokens of each prefill signature; for ExecuTorch one number, the most per call. "
    "Default: the target's.",
)
@runtime_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["dir", "zip"]),
    default="dir",
    show_default=True,
    help="A folder, or one .gemcut file.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where the bundle goes; with several runtimes, the folder that holds a bundle for each. "
    "Default: bundles/<model>-<target>-<runtime>, with .gemcut for a zip.",
)
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@click.option(
    "--fresh",
    is_flag=True,
    help="Start from scratch: reuse nothing of a run that was killed, nor a program that another export built.",
)
@click.option(
    "--chat-template",
    metavar="FILE|none",
    shell_complete=complete.words_or("file", "none"),
    help="Replaces the model's own; none for base models.",
)
@click.option(
    "--gate",
    type=click.Choice(["enforce", "report"]),
    default="enforce",
    show_default=True,
    help="report: publish a bundle that fails its gate, marked as unproven.",
)
@click.option(
    "--prove-on",
    multiple=True,
    metavar="DEVICE",
    shell_complete=complete.DEVICES,
    help="Also prove each bundle on this device before it is published; may be repeated. See gemcut devices.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    shell_complete=complete.PROJECT_BUNDLES,
    help="With gemcut.toml: build only this bundle; may be repeated.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check all that can be checked before the work, say what would be made, and stop; no weights are fetched.",
)
@click.option("--locked", is_flag=True, help="With gemcut.toml: refuse anything that differs from gemcut.lock.")
@device_options
@report_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, model: str | None, as_json: bool, **flags: Any) -> int:
    """Cut MODEL to a bundle for a target, prove it, and publish it.

    MODEL is a directory or a hub id, org/name[@revision]; without it, the sample that ships with Gemcut.
    --runtime executorch,litert makes a bundle for each, from one run of the float model.
    If anything fails, nothing is published. An export that was killed continues from its finished stages when it
    is run again.

    Without MODEL and --target it builds every bundle of gemcut.toml that is out of date, and says why for each. The
    file is looked for in this folder and above it, up to the repository's root. gemcut init writes one.
    """
    _refuse_reports_of_nothing(flags)
    if model is None and flags["target"] is None:
        return _export_project(ctx, as_json, flags)
    for name in _OF_PROJECTS:
        if flags[name]:
            raise UsageError(f"--{name} applies only to {PROJECT_FILE}: leave out MODEL and --target")
    if flags["target"] is None:
        raise UsageError("--target is missing", hint="See gemcut targets for a list, and gemcut export --help.")
    if flags["dry_run"]:
        return _dry_run(_request(model, flags), as_json)
    with reporting(flags, "export", Path(model).name if model else "sample") as report:
        published = _export(_request(model, flags), report)
    for one in published:
        warn_unproven(one.manifest, one.bundle)
    if as_json:
        emit(_result(published))
        return EXIT_PROVEN
    for one in published:
        _show(one)
    _show_run(published[-1])
    return EXIT_PROVEN


def _refuse_reports_of_nothing(flags: dict[str, Any]) -> None:
    for name in FORMATS.names():
        if flags["dry_run"] and flags.get(name.replace("-", "_")) is not None:
            raise UsageError(f"--{name} reports on what was made, and --dry-run makes nothing: leave one of them out")


def _dry_run(request: ExportRequest, as_json: bool) -> int:
    from ..pipeline.planned_export import dry_run

    with console_progress() as progress:
        found = dry_run(request, progress)
    if as_json:
        emit(found)
    else:
        from .views.dry_run_tables import show_dry_run

        show_dry_run(found)
    return EXIT_PROVEN


def _export_project(ctx: click.Context, as_json: bool, flags: dict[str, Any]) -> int:
    """Build what ``gemcut.toml`` lists; a flag that is a key there is refused by name."""
    root = project_root()
    if root is None:
        raise UsageError(
            f"there is no --target, and no {PROJECT_FILE} in this folder or above it",
            hint="Run gemcut export MODEL --target NAME for one bundle (gemcut targets lists the targets), or gemcut "
            f"init for a {PROJECT_FILE} that lists an app's bundles.",
        )
    taken = {"only", "locked", "dry_run", "force", "fresh", "as_json", "verbose", "model", *FORMATS.names()}
    for name in flags:
        given = ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if given and name not in taken:
            flag = {"form": "format"}.get(name, name).replace("_", "-")
            if name == "gate":
                raise UsageError("--gate needs MODEL or --target: a bundle of gemcut.toml must pass its recipe's gate")
            key = {"form": "format", "runtime": "runtimes"}.get(name, name)
            raise UsageError(
                f"--{flag} needs MODEL or --target: with {PROJECT_FILE}, set the key {key} of a bundle",
                hint="See docs/reference/configuration.md or .gemcut/gemcut.schema.json for its keys.",
            )
    from .project import export_project

    if root != Path():
        warn(f"note: building what {root / PROJECT_FILE} lists")
    return export_project(flags, as_json, root)


def _request(model: str | None, flags: dict[str, Any]) -> ExportRequest:
    from ..pipeline.request import ExportRequest
    from .parse import parse_lengths, parse_max_size, parse_runtimes

    return ExportRequest(
        model=model,
        adapter=flags["adapter"],
        target=flags["target"],
        runtimes=parse_runtimes(flags["runtime"]),
        recipe=flags["recipe"],
        max_size=parse_max_size(flags["max_size"]),
        max_kl=flags["max_kl"],
        calibration=flags["calibration"],
        golden_prompts=flags["golden_prompts"],
        built_in_prompts=flags["built_in_prompts"],
        context=flags["context"],
        prefill_lengths=parse_lengths(flags["prefill_lengths"]),
        options=asked_options(flags),
        format=flags["form"],
        output=flags["output"],
        force=flags["force"],
        fresh=flags["fresh"],
        chat_template=flags["chat_template"],
        gate=flags["gate"],
        prove_on=flags["prove_on"],
        device_options=parse_devices("--prove-on", flags["prove_on"], flags),
    )


def _export(request: ExportRequest, report: Report) -> tuple[Published, ...]:
    """Export; what held it back goes to stderr and into the reports."""
    from ..pipeline.export import export  # after the flags: it loads a lot
    from ..pipeline.failures import HeldBack
    from ..report import outcome
    from .views.proof import show_held_back

    try:
        with console_progress() as progress:
            published = export(request, progress)
    except HeldBack as error:
        show_held_back(error)
        report.add(*outcome.held_back(error.evidence))
        raise
    report.add(*map(outcome.published, published))
    return published


def _result(published: tuple[Published, ...]) -> object:
    from .documents import ExportResult

    last = published[-1]
    bundles = tuple(_bundle(one) for one in published)
    return ExportResult(bundles, last.seconds, last.memory, last.peak_memory, last.resumed)


def _bundle(published: Published) -> Any:
    from .documents import ExportedBundle, device_result

    manifest = published.manifest
    return ExportedBundle(
        bundle=str(published.bundle),
        runtime=manifest.runtime.name,
        recipe=manifest.recipe.name,
        size=published.size,
        proven=manifest.proven,
        unproven=manifest.unproven,
        fidelity=manifest.fidelity.model_dump(mode="json") if manifest.fidelity else None,
        behaviour=manifest.behaviour.model_dump(mode="json") if manifest.behaviour else None,
        grade=manifest.grade,
        speed=published.speed,
        run_memory=published.run_memory,
        devices=tuple(device_result(one) for one in published.devices),
    )


def _show(published: Published) -> None:
    from ..report.wording import memory_text
    from ..util.text import path_text, size_text
    from .views.proof import fidelity_text, show_behaviour, show_device, show_fidelity
    from .views.table import table

    manifest, bundle = published.manifest, path_text(published.bundle)
    speed = ", ".join(f"{name} {rate:.0f} tokens/s" for name, rate in published.speed.items())
    rows = [
        ("bundle", bundle),
        ("runtime", f"{manifest.runtime.name} {manifest.runtime.version}"),
        ("recipe", manifest.recipe.name),
        ("size", size_text(published.size)),
        ("fidelity", fidelity_text(manifest.fidelity, manifest.behaviour, brief=True) if manifest.fidelity else ""),
        ("proven", "yes" if manifest.proven else "NO"),
        ("also on", ", ".join(one.device for one in published.devices)),
        ("speed on this host", speed),
        ("memory on this host", memory_text(published.run_memory)),
    ]
    if manifest.fidelity:
        show_fidelity(manifest.fidelity, manifest.gate.limits, manifest.behaviour)
    if manifest.behaviour:
        show_behaviour(manifest.behaviour)
    for one in published.devices:
        show_device(one)
    table([row for row in rows if row[1]])
    for note in manifest.notes:
        say(f"note: {note}")
    say("next:")
    for verb, what in (
        ("validate", "prove it again, anywhere"),
        ("chat", "talk to it"),
        ("bench", "measure it"),
    ):
        say(f"  gemcut {f'{verb} {bundle}':<50} # {what}")


def _show_run(published: Published) -> None:
    from ..util.text import size_text
    from .views.table import table

    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in published.seconds.items())
    table(
        (
            ("seconds", f"{sum(published.seconds.values()):.1f} ({stages})"),
            ("memory of the export", size_text(published.peak_memory)),
            *([("resumed", ", ".join(published.resumed))] if published.resumed else []),
        )
    )
