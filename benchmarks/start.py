"""What starting a program costs: ``python -m benchmarks.start BUNDLE``.

Two fresh processes in turn, each from the interpreter's start to the logits of one token: ours, and ExecuTorch's
runtime as its documentation imports it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
from gemcut.bundle.reader import open_bundle
from gemcut.errors import UsageError

from .common import Command, Figure, figure, json_option, machine, machine_text, progress, ratio, run, write_json

OURS = """
import sys
from pathlib import Path
from gemcut.runtimes.executorch.runner import ExecuTorchRunner
ExecuTorchRunner(Path(sys.argv[1])).prefill([1], 0)
"""
PLAIN = """
import sys, torch
import executorch.extension.llm.custom_ops.custom_ops
import executorch.kernels.quantized
from executorch.runtime import Runtime
forward = Runtime.get().load_program(sys.argv[1]).load_method("forward")
forward.execute([torch.tensor([[1]]), torch.tensor([0])])
"""


def seconds_of(code: str, program: Path) -> float:
    """The wall time of one process that runs ``code``, in seconds."""
    began = time.perf_counter()
    run([sys.executable, "-c", code, program], "starting a program")
    return time.perf_counter() - began


def measure(program: Path, rounds: int, told: Callable[[int], None]) -> dict[str, Figure]:
    """Both ways in turn, after one round that isn't counted; seconds, and plain over ours."""
    found: dict[str, list[float]] = {"ours": [], "plain": []}
    for index in range(rounds + 1):
        told(index)
        for name, code in (("ours", OURS), ("plain", PLAIN)):
            seconds = seconds_of(code, program)
            if index:
                found[name].append(seconds)
    figures = {name: figure(values) for name, values in found.items()}
    return {**figures, "plain / ours": ratio(figures["plain"], figures["ours"])}


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Each starts both once.")
@json_option
def main(bundle: Path, rounds: int, json_file: Path | None) -> None:
    """Measure how long a fresh process takes to the first logits of an ExecuTorch BUNDLE, beside the plain way."""
    found = machine()
    with open_bundle(bundle) as opened:
        if opened.manifest.runtime.name != "executorch":
            raise UsageError(f"{bundle} is not for ExecuTorch.", hint="Name a bundle with a model.pte.")
        with progress() as shown:
            shown.stage("starting programs")
            results = measure(opened.program, rounds, lambda index: shown.update(index, rounds + 1, "rounds"))
    click.echo(machine_text(found))
    for name, one in results.items():
        click.echo(f"{name:14}{one.text()}{'' if '/' in name else ' s'}")
    write_json(json_file, "start", {"machine": found, "results": results})


if __name__ == "__main__":
    main()
