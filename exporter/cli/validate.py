"""``gemcut validate``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_CONFORMANCE, EXIT_GATE, EXIT_PROVEN
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
from .shared_options import bundle_argument

if TYPE_CHECKING:
    from ..pipeline.request import Validated


@click.command(cls=Command)
@bundle_argument
@click.option(
    "--on",
    "devices",
    multiple=True,
    metavar="DEVICE",
    shell_complete=complete.DEVICES,
    help="The device to run it on; may be repeated. See gemcut devices. Default: host.",
)
@click.option(
    "--from",
    "verdicts",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A verdict that the demo app wrote on a phone; may be repeated.",
)
@device_options
@report_options
@json_option
def command(bundle: Path, devices: tuple[str, ...], verdicts: tuple[Path, ...], as_json: bool, **options: Any) -> int:
    """Prove BUNDLE again, from its own goldens; its checkpoint isn't needed.

    Checks every byte, runs the program through the bundle's own tokenizer and template, and compares the
    results with the float model's and with what the exporting machine recorded.

    With --on DEVICE the program runs in the app's own Android library, in arm64 code under emulation, in a
    virtual machine or on a phone: gemcut devices lists them and says what each proves. With --from FILE, what
    an app recorded on its phone is compared with the exporting machine's record.
    """
    from ..pipeline.validate import validate
    from ..report import outcome

    chosen = parse_devices("--on", devices, options)
    with reporting(options, "validate", bundle.name) as report:
        with console_progress() as progress:
            found = validate(bundle, progress, devices, chosen, verdicts)
        report.add(outcome.validated(found))
    warn_unproven(found.manifest, bundle)
    if as_json:
        emit(_result(found))
    else:
        _show(found)
    for failure in _failures(found):
        warn(f"failed: {failure}")
    if not found.conforms:
        return EXIT_CONFORMANCE
    return EXIT_PROVEN if found.passed else EXIT_GATE


def _failures(found: Validated) -> Iterator[str]:
    if found.here:
        yield from (*found.here.conformance.failures, *found.here.verdict.reasons())
    for one in found.devices:
        yield from (f"{one.device}: {failure}" for failure in one.failures)


def _result(found: Validated) -> object:
    from .documents import ValidateResult, device_result, here_result

    return ValidateResult(
        bundle=str(found.bundle),
        passed=found.passed,
        proven=found.manifest.proven,
        here=here_result(found.here) if found.here else None,
        devices=tuple(device_result(one) for one in found.devices),
        seconds=found.seconds,
    )


def _show(found: Validated) -> None:
    from .views.proof import show_behaviour, show_conformance, show_device, show_fidelity, show_worst

    say(f"{found.bundle}: every byte is as it was exported")
    if found.here:
        here = found.here
        show_fidelity(here.verdict.fidelity, found.manifest.gate.limits, here.behaviour)
        for name in here.verdict.unmeasured:
            say(f"{name} was only measured at the export: the goldens hold no raw logits")
        show_behaviour(here.behaviour)
        show_conformance(here.conformance)
        if not here.verdict.passed:
            show_worst(here.verdict)
        passed = here.verdict.passed and here.conformance.passed
        say("proven on this machine" if passed else "NOT proven on this machine")
    for one in found.devices:
        show_device(one)
        say(f"proven on {one.device}" if one.passed else f"NOT proven on {one.device}")
