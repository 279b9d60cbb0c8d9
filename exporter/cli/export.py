"""``gemcut export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_PROVEN, UsageError
from ..report.formats import FORMATS
from ..runtimes import DEFAULT, runtime_names
from .common import Command, console_progress, device_options, emit, json_option, parse_devices, say, warn_unproven
from .reporting import report_options, reporting
from .runtime_options import asked_options, runtime_options

if TYPE_CHECKING:
    from ..pipeline.request import ExportRequest, Published
    from .reporting import Report

PROJECT_FILE = "gemcut.toml"
_OF_PROJECTS = ("only", "locked")


@click.command(cls=Command)
@click.argument("model", required=False)
@click.option("--target", metavar="NAME|FILE.toml", help="What kind of device; see gemcut targets.")
@click.option(
    "--runtime",
    default=DEFAULT,
    show_default=True,
    metavar="NAME[,NAME]",
    help=f"What runs it there: {', '.join(runtime_names())}.",
)
@click.option("--adapter", metavar="DIR|sample", help="A PEFT adapter (LoRA, rsLoRA, DoRA) to merge into MODEL.")
@click.option("--recipe", metavar="NAME|FILE.toml", help="How to quantize; see gemcut recipes. Default: the target's.")
@click.option("--context", type=click.IntRange(min=1), help="Tokens of prompt and reply. Default: the target's.")
@click.option("--prefill-lengths", metavar="N[,N]",
              help="LiteRT: tokens of each prefill signature, most first use; ExecuTorch: one, the most per call. "
                   "Default: the target's.")  # fmt: skip
@runtime_options
@click.option("--format", "form", type=click.Choice(["dir", "zip"]), default="dir", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH",
              help="Default: bundles/<model>-<target>-<runtime>, with .gemcut for a zip. With several "
                   "runtimes: the folder that holds a bundle each.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a bundle that is there.")
@click.option("--fresh", is_flag=True,
              help="Begin anew: take nothing over from a run of this export that was killed.")  # fmt: skip
@click.option("--chat-template", metavar="FILE|none", help="In place of the model's own; none for base models.")
@click.option("--gate", type=click.Choice(["enforce", "report"]), default="enforce", show_default=True,
              help="report: publish a bundle that fails, marked as unproven.")  # fmt: skip
@click.option("--prove-on", multiple=True, metavar="DEVICE",
              help="Prove each bundle there too before it is published; any number of times. "
                   "See gemcut devices.")  # fmt: skip
@click.option("--only", multiple=True, metavar="NAME", help="Of gemcut.toml: this bundle alone; any number of times.")
@click.option("--locked", is_flag=True, help="Of gemcut.toml: refuse anything that is not as gemcut.lock has it.")
@device_options
@report_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, model: str | None, as_json: bool, **flags: Any) -> int:
    """Cut MODEL to a bundle for a target, prove it, and publish it.

    MODEL is a directory or a hub id, org/name[@revision]; without it, the sample that ships with Gemcut.
    With --runtime executorch,litert there is a bundle each, from one run of the float model.
    If anything fails, nothing is published. An export that was killed goes on from its finished stages when it is
    run again.

    With neither MODEL nor --target, in a folder that has a gemcut.toml: builds every bundle of it that is out of
    date, and says why for each. gemcut init writes one.
    """
    if model is None and flags["target"] is None:
        return _export_project(ctx, as_json, flags)
    for name in _OF_PROJECTS:
        if flags[name]:
            raise UsageError(f"--{name} is for {PROJECT_FILE}: leave out MODEL and --target")
    if flags["target"] is None:
        raise UsageError("Missing option '--target'.", hint="gemcut targets lists them; gemcut export --help.")
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


def _export_project(ctx: click.Context, as_json: bool, flags: dict[str, Any]) -> int:
    """Builds what ``gemcut.toml`` lists; a flag that its keys stand for is refused by name."""
    if not Path(PROJECT_FILE).is_file():
        raise UsageError(
            f"no --target, and no {PROJECT_FILE} here",
            hint="gemcut export MODEL --target NAME makes one bundle (gemcut targets lists them); "
            f"gemcut init writes a {PROJECT_FILE} that lists an app's bundles.",
        )
    taken = {"only", "locked", "force", "fresh", "as_json", "verbose", "model", *FORMATS.names()}
    for name in flags:
        given = ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if given and name not in taken:
            flag = {"form": "format", "devices": "on"}.get(name, name).replace("_", "-")
            raise UsageError(
                f"--{flag} without MODEL and --target: with {PROJECT_FILE} it is a key of a bundle there",
                hint=f"docs/configuration.md has the keys of {PROJECT_FILE}, and so has .gemcut/gemcut.schema.json.",
            )
    from .project import export_project

    return export_project(flags, as_json)


def _request(model: str | None, flags: dict[str, Any]) -> ExportRequest:
    from ..pipeline.request import ExportRequest
    from .parse import parse_lengths, parse_runtimes

    return ExportRequest(
        model=model,
        adapter=flags["adapter"],
        target=flags["target"],
        runtimes=parse_runtimes(flags["runtime"]),
        recipe=flags["recipe"],
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
    """Exports; what held it back goes to stderr and into the reports."""
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
        size=published.size,
        proven=manifest.proven,
        unproven=manifest.unproven,
        fidelity=manifest.fidelity.model_dump(mode="json") if manifest.fidelity else None,
        behaviour=manifest.behaviour.model_dump(mode="json") if manifest.behaviour else None,
        speed=published.speed,
        devices=tuple(device_result(one) for one in published.devices),
    )


def _show(published: Published) -> None:
    from ..util.text import path_text, size_text
    from .views.proof import show_behaviour, show_device, show_fidelity
    from .views.table import table

    manifest, bundle = published.manifest, path_text(published.bundle)
    speed = ", ".join(f"{name} {rate:.0f} tokens/s" for name, rate in published.speed.items())
    rows = [
        ("bundle", bundle),
        ("runtime", f"{manifest.runtime.name} {manifest.runtime.version}"),
        ("size", size_text(published.size)),
        ("proven", "yes" if manifest.proven else "NO"),
        ("also on", ", ".join(one.device for one in published.devices)),
        ("speed on this host", speed),
    ]
    if manifest.fidelity:
        show_fidelity(manifest.fidelity, manifest.gate.limits)
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
            ("peak memory", size_text(published.peak_memory)),
            *([("resumed", ", ".join(published.resumed))] if published.resumed else []),
        )
    )
