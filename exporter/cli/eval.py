"""``gemcut eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import completed_values as complete
from .common import Command, console_progress, emit, json_option, open_checked, say
from .shared_options import bundle_argument

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..evaluate.harness import Asked, Score
    from ..report.console import ConsoleProgress


@click.command(cls=Command)
@bundle_argument
@click.option(
    "--task",
    "tasks",
    multiple=True,
    required=True,
    metavar="NAME|FILE.yaml",
    shell_complete=complete.FILES,
    help="A task of lm-evaluation-harness, or a file that describes one; may be repeated.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Documents of each task. Default: all.")
@click.option("--shots", type=click.IntRange(min=0), help="Examples before each question. Default: the task's.")
@click.option("--chat", is_flag=True, help="Put prompts through the chat template.")
@click.option(
    "--float",
    "float_model",
    metavar="MODEL",
    shell_complete=complete.MODELS,
    help="The float model, to have its scores beside the bundle's: a directory or hub id. Default for a bundle of the "
    "sample: the sample.",
)
@json_option
def command(
    bundle: Path,
    tasks: tuple[str, ...],
    limit: int | None,
    shots: int | None,
    chat: bool,
    float_model: str | None,
    as_json: bool,
) -> None:
    """Run benchmarks of lm-evaluation-harness on BUNDLE itself, in its runtime.

    The harness' own tasks fetch their data from the hub. A task of your own is a YAML file, whose data can be local
    files: docs/guides/evaluate.md has one to start from. With --float, the float model takes the same tasks, so that
    what quantization cost stands beside what the model can do.
    """
    from ..evaluate.harness import Asked, prepare

    asked = Asked(tasks, limit, shots, chat)
    prepared = prepare(asked)
    with console_progress() as progress, open_checked(bundle, progress) as opened:
        source = opened.manifest.model.source
        float_model = float_model or ("sample" if source == "sample" else None)
        progress.stage(f"Evaluating the bundle in {opened.manifest.runtime.name}")
        own = _bundle_scores(opened, prepared, asked, progress)
        beside = None
        if float_model is not None:
            beside = _float_scores(float_model, opened, prepared, asked, progress)
    if as_json:
        from .measured_documents import EvalResult

        emit(EvalResult(str(bundle), own, beside))
        return
    _show(own, beside)


def _bundle_scores(bundle: Bundle, prepared: object, asked: Asked, progress: ConsoleProgress) -> tuple[Score, ...]:
    from ..evaluate.harness import evaluate
    from ..evaluate.scoring import ScoredRunner
    from ..prompt.codec import codec_of
    from ..runtimes import get_runtime

    runner = get_runtime(bundle.manifest.runtime.name).engine.open(bundle.program)
    try:
        model = ScoredRunner(runner, codec_of(bundle), frozenset(bundle.manifest.stop_ids))
        return evaluate(model, prepared, asked, progress)
    finally:
        runner.close()


def _float_scores(
    name: str, bundle: Bundle, prepared: object, asked: Asked, progress: ConsoleProgress
) -> tuple[Score, ...]:
    import tempfile

    from ..checkpoint.opening import open_checkpoint
    from ..evaluate.float_runner import FloatRunner
    from ..evaluate.harness import evaluate
    from ..evaluate.scoring import ScoredRunner
    from ..pipeline.reference import load_model
    from ..prompt.codec import codec_of
    from ..sample import sample_path

    checkpoint = open_checkpoint(str(sample_path()) if name == "sample" else name)
    with tempfile.TemporaryDirectory(prefix="gemcut-eval-") as work:
        progress.stage("Evaluating the float model")
        runner = FloatRunner(load_model(checkpoint, Path(work), progress), bundle.manifest.context)
        model = ScoredRunner(runner, codec_of(bundle), frozenset(bundle.manifest.stop_ids))
        return evaluate(model, prepared, asked, progress)


def _show(own: tuple[Score, ...], beside: tuple[Score, ...] | None) -> None:
    from .views.table import table

    known = {(one.task, one.metric): one for one in beside or ()}
    rows = []
    for one in own:
        other = known.get((one.task, one.metric))
        cells = [one.task, one.metric, f"{one.value:.4f}"]
        if beside is not None:
            cells += [f"{other.value:.4f}", f"{one.value - other.value:+.4f}"] if other is not None else ["-", "-"]
        cells += [f"{one.error:.4f}" if one.error is not None else "-", str(one.documents)]
        rows.append(tuple(cells))
    middle = ("float", "difference") if beside is not None else ()
    table(rows, ("task", "figure", "bundle", *middle, "standard error", "documents"))
    if beside is None:
        say("With --float MODEL, the float model's scores stand beside.")
