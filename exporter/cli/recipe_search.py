"""``gemcut recipes sensitivity`` and ``gemcut recipes search``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..util.packages import install_command
from . import completed_values as complete
from .common import Command, Function, console_progress, emit, json_option, say
from .shared_options import DEFAULT_TARGET, adapter_option, model_argument, target_option

if TYPE_CHECKING:
    from ..calibrate.front import Mix, Point, TensorSensitivity
    from ..pipeline.bit_search import Searched

_WORST = 10  # tensors that are listed
_ROWS = 12  # points of the front that are listed


def _model_options(function: Function) -> Function:
    click.option(
        "--context", type=click.IntRange(min=1), help="Tokens of prompt and reply, for the size. Default: the target's."
    )(function)
    target_option(DEFAULT_TARGET, "The kind of device, for the bundle's size.")(function)
    click.option(
        "--calibration",
        metavar="FILE.txt",
        shell_complete=complete.FILES,
        help="Text to measure on. Default: the text that ships.",
    )(function)
    adapter_option(function)
    click.option(
        "--chat-template",
        metavar="FILE|none",
        shell_complete=complete.words_or("file", "none"),
        help="Replaces the model's own; none for base models.",
    )(function)
    return function


@click.command("sensitivity", cls=Command)
@model_argument
@_model_options
@json_option
def sensitivity_command(
    model: str | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Measure what each matrix of MODEL costs at four bits and at eight: bytes, and nats of divergence.

    MODEL is a directory or a hub id; without it, the sample. It takes as long as a calibration, and as much memory;
    what was measured is kept, so that asking again takes seconds.
    """
    found = _search(model, **where)
    if as_json:
        from .measured_documents import SensitivityResult

        emit(SensitivityResult(found.sensitivity.tensors, found.sensitivity.activations, found.smallest, found.points))
        return
    _show_classes(found)
    _show_worst(found)


@click.command("search", cls=Command)
@model_argument
@click.option("--max-size", metavar="SIZE", help="Most bytes of the bundle, as in '180 MB'.")
@click.option(
    "--max-kl",
    type=click.FloatRange(min=0, min_open=True),
    metavar="NATS",
    help="Most mean KL divergence from the float model.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.toml", help="Write the recipe there.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE.html", help="Plot the front there.")
@_model_options
@json_option
def search_command(
    model: str | None,
    max_size: str | None,
    max_kl: float | None,
    output: Path | None,
    html: Path | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Find the mix of four and eight bits for MODEL that a budget asks for, and write it as a recipe.

    With --max-size, the mix with the least divergence that is no larger; with --max-kl, the smallest that diverges no
    more; with neither, only the front of all mixes is shown. gemcut export takes the same two flags, and proves what
    it finds.
    """
    from ..calibrate.front import Limits
    from ..calibrate.mixed_recipe import write_recipe
    from .parse import parse_max_size

    limits = Limits(parse_max_size(max_size), max_kl)
    if output is not None and limits == Limits():
        raise UsageError("-o needs a budget", hint="Give --max-size or --max-kl.")
    found = _search(model, **where)
    chosen = None
    if limits != Limits():
        chosen, recipe = found.recipe(limits, output.stem if output is not None else limits.name)
        if output is not None:
            write_recipe(recipe, output)
    if html is not None:
        _plot(found, chosen, html)
    if as_json:
        from .measured_documents import SearchResult

        emit(SearchResult(found.smallest, found.points, chosen, str(output) if output is not None else None))
        return
    _show_front(found, chosen)
    if chosen is not None and output is not None:
        say(f"wrote {output}: gemcut export {model or ''} --target NAME --recipe {output}")


def _search(
    model: str | None,
    target: str,
    context: int | None,
    calibration: str | None,
    adapter: str | None,
    chat_template: str | None,
) -> Searched:
    from ..checkpoint.opening import check_context, open_checkpoint
    from ..pipeline.bit_search import TITLES, search
    from ..sample import adapter_path, sample_path
    from ..target import load_target
    from ..util.stage_clock import StageClock

    device = load_target(target)
    with console_progress() as progress:
        clock = StageClock(progress, TITLES)
        checkpoint = open_checkpoint(
            model or str(sample_path()),
            chat_template=chat_template,
            adapter=None if adapter is None else adapter_path(adapter),
        )
        if context is not None:
            check_context(checkpoint, context)
        slots = context or min(device.context, int(checkpoint.text_config.max_position_embeddings))
        return search(checkpoint, device, calibration, slots, Path.cwd(), clock)


def _show_classes(found: Searched) -> None:
    from ..calibrate.front import FEW, MANY
    from ..util.text import count_text, size_text
    from .views.table import table

    rows = []
    tensors = found.sensitivity.tensors
    for kind in dict.fromkeys(one.kind for one in tensors):
        of = [one for one in tensors if one.kind == kind]
        small = [one.bytes.get(FEW, one.bytes[MANY]) for one in of]
        error = [one.nats.get(FEW, one.nats[MANY]) for one in of]
        large, less = sum(one.bytes[MANY] for one in of), sum(one.nats[MANY] for one in of)
        gained = (sum(error) - less) / max(1, large - sum(small)) * 1e6
        rows.append(
            (
                kind,
                count_text(sum(one.parameters for one in of)),
                size_text(sum(small)),
                f"{sum(error):.4f}",
                size_text(large),
                f"{less:.4f}",
                f"{gained:.5f}",
            )
        )
    table(rows, ("tensors", "parameters", "int4", "nats", "int8", "nats", "nats a MB takes away"))
    say(
        f"int8 activations add {found.sensitivity.activations:.4f} nats. Measured on {found.sensitivity.tokens} tokens."
    )


def _show_worst(found: Searched) -> None:
    from ..calibrate.front import FEW
    from ..util.text import size_text
    from .views.table import table

    worst = sorted((one for one in found.sensitivity.tensors if FEW in one.nats), key=lambda one: -one.nats[FEW])
    say("the worst at int4")
    table(
        ((_names(one), size_text(one.bytes[FEW]), f"{one.nats[FEW]:.4f}", f"{one.gain:.5f}") for one in worst[:_WORST]),
        ("tensor", "int4", "nats", "nats a MB takes away"),
    )


def _names(one: TensorSensitivity) -> str:
    return " and ".join(one.names)


def _show_front(found: Searched, chosen: Mix | None) -> None:
    from ..util.text import size_text
    from ..words.grades import words_of
    from .views.table import table

    rows = [
        (
            size_text(found.smallest + point.bytes),
            f"{point.nats:.4f}",
            words_of("mean_kl", point.nats),
            str(point.raised),
            " and ".join(point.last) or "all int4",
        )
        for point in _some(found.points)
    ]
    table(rows, ("bundle", "nats", "in words", "steps", "the last matrix that became int8"))
    say(f"int8 activations are {found.sensitivity.activations:.4f} of these nats; no mix has less.")
    if chosen is not None:
        size = size_text(found.smallest + chosen.bytes)
        told = f"{chosen.nats:.4f} nats ({words_of('mean_kl', chosen.nats)})"
        say(f"For this budget: {len(chosen.raised)} matrices int8, about {size}, about {told}.")


def _some(points: tuple[Point, ...]) -> Iterator[Point]:
    """Some points, evenly by bytes."""
    last, step = -1, max(1, points[-1].bytes // (_ROWS - 1))
    for point in points:
        at = point.bytes // step
        if at > last or point == points[-1]:
            last = max(last, at)
            yield point


def _plot(found: Searched, chosen: Mix | None, html: Path) -> None:
    from ..errors import LackingError

    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise LackingError("plotly isn't installed.", hint=install_command("report")) from error
    sizes = [(found.smallest + point.bytes) / 1e6 for point in found.points]
    text = [" and ".join(point.last) or "all int4" for point in found.points]
    traces = [go.Scatter(x=sizes, y=[point.nats for point in found.points], text=text, mode="lines", name="the front")]
    measured = [(sizes[one.raised], one.nats) for one in found.sensitivity.measured]
    traces.append(go.Scatter(x=[x for x, _ in measured], y=[y for _, y in measured], mode="markers", name="measured"))
    if chosen is not None:
        at = (found.smallest + chosen.bytes) / 1e6
        traces.append(go.Scatter(x=[at], y=[chosen.nats], mode="markers", marker_size=14, name="the budget's"))
    layout = {"title": "Size against divergence", "xaxis_title": "bundle, MB", "yaxis_title": "mean KL, nats"}
    below = {"orientation": "h", "y": -0.25}  # beside the plot, the legend would take half of a phone's screen
    page = go.Figure(traces, {**layout, "legend": below, "margin": {"l": 8, "r": 16}}).to_html()
    # Without it, a phone lays the page out for a desk's screen and shrinks it.
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    html.write_text(page.replace("<head>", f"<head>{viewport}", 1), encoding="utf-8")
