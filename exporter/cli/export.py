"""``gemcut export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import Command, console_progress, device_options, emit, json_option, parse_devices, say, warn_unproven

if TYPE_CHECKING:
    from ..request import Published


@click.command(cls=Command)
@click.argument("model", required=False)
@click.option("--target", required=True, metavar="NAME|FILE.toml", help="What kind of device; see gemcut targets.")
@click.option("--runtime", default="executorch", show_default=True, metavar="NAME[,NAME]", help="What runs it there.")
@click.option("--recipe", metavar="NAME|FILE.toml", help="How to quantize; see gemcut recipes. Default: the target's.")
@click.option("--context", type=click.IntRange(min=1), help="Tokens of prompt and reply. Default: the target's.")
@click.option("--prefill-lengths", metavar="N[,N]",
              help="LiteRT: tokens of each prefill signature, most first use; ExecuTorch: one, the most per call. "
                   "Default: the target's.")  # fmt: skip
@click.option("--dynamic-shape/--no-dynamic-shape", default=None,
              help="LiteRT: one prefill of any length in place of fixed ones. Default: the target's.")  # fmt: skip
@click.option("--plain-tflite", is_flag=True, help="Put the bare model.tflite beside the .litertlm.")
@click.option("--format", "form", type=click.Choice(["dir", "zip"]), default="dir", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH",
              help="Default: bundles/<model>-<target>-<runtime>, with .gemcut for a zip. With several "
                   "runtimes: the folder that holds a bundle each.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a bundle that is there.")
@click.option("--chat-template", metavar="FILE|none", help="In place of the model's own; none for base models.")
@click.option("--gate", type=click.Choice(["enforce", "report"]), default="enforce", show_default=True,
              help="report: publish a bundle that fails, marked as unproven.")  # fmt: skip
@click.option("--prove-on", multiple=True, metavar="DEVICE",
              help="Prove each bundle there too before it is published; any number of times. "
                   "See gemcut devices.")  # fmt: skip
@device_options
@json_option
def command(model: str | None, as_json: bool, **flags: Any) -> None:
    """Cut MODEL to a bundle for a target, prove it, and publish it.

    MODEL is a directory or a hub id, org/name[@revision]; without it, the sample that ships with Gemcut.
    With --runtime executorch,litert there is a bundle each, from one run of the float model.
    If anything fails, nothing is published.
    """
    from ..report.proof import show_worst
    from ..request import ExportRequest, GateFailed, parse_lengths, parse_runtimes

    request = ExportRequest(
        model=model,
        target=flags["target"],
        runtimes=parse_runtimes(flags["runtime"]),
        recipe=flags["recipe"],
        context=flags["context"],
        prefill_lengths=parse_lengths(flags["prefill_lengths"]),
        dynamic_shape=flags["dynamic_shape"],
        plain_tflite=flags["plain_tflite"],
        format=flags["form"],
        output=flags["output"],
        force=flags["force"],
        chat_template=flags["chat_template"],
        gate=flags["gate"],
        prove_on=flags["prove_on"],
        device_options=parse_devices("--prove-on", flags["prove_on"], flags),
    )
    from ..pipeline import export  # after the flags: it loads a lot

    try:
        with console_progress() as progress:
            published = export(request, progress)
    except GateFailed as error:
        show_worst(error.verdict, to_stderr=True)
        raise
    for one in published:
        warn_unproven(one.manifest, one.bundle)
    if as_json:
        emit(_result(published))
        return
    for one in published:
        _show(one)
    _show_run(published[-1])


def _result(published: tuple[Published, ...]) -> object:
    from ..report.documents import ExportResult

    last = published[-1]
    return ExportResult(tuple(_bundle(one) for one in published), last.seconds, last.peak_memory)


def _bundle(published: Published) -> Any:
    from ..report.documents import ExportedBundle, device_result

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
    from ..report.console import path_text, size_text, table
    from ..report.proof import show_behaviour, show_device, show_fidelity

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
    from ..report.console import size_text, table

    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in published.seconds.items())
    table(
        (
            ("seconds", f"{sum(published.seconds.values()):.1f} ({stages})"),
            ("peak memory", size_text(published.peak_memory)),
        )
    )
