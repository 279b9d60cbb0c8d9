"""Size against fidelity on real weights: ``python -m benchmarks.quality``.

Each recipe is exported, and its bundle is run in the runtime itself over held-out text: every position of every text,
fed one token at a time, against the float model's logits over the whole vocabulary. Beside them, on the same weights,
tokens and float logits: llama.cpp's own quantizations in llama.cpp, and what LiteRT's own exporter makes, in LiteRT.
"""

from __future__ import annotations

import inspect
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from gemcut.bundle.reader import Bundle, open_bundle
from gemcut.cli.views.table import table
from gemcut.errors import UsageError
from gemcut.prove.golden import log_softmax
from gemcut.quantize.recipe import list_recipes

from . import litert_recipes, llama_quality
from .common import Command, json_option, machine, machine_text, number, progress, run_module, scratch, write_json
from .real_weights import MODELS, TITLES, gguf_of, make_checkpoint

# Tokens of each text, its beginning-of-sequence token among them.
LENGTH = 256
_CONTEXT = 512
_ROOM = 12 << 30
# Each text's name with an iterator over its logits.
Rows = Iterable[tuple[str, Iterator[Any]]]
_TEXTS = Path(__file__).with_name("text")


@dataclass(frozen=True)
class Quality:
    """A program beside the float model. size: bytes of its file. mean_kl, p99_kl: nats. top1: share of positions.

    perplexity_ratio: its own over the float model's. by_text: mean KL of each text. proven: by its own gate; None for
    what isn't ours.
    """

    recipe: str
    runtime: str
    size: int
    mean_kl: float
    p99_kl: float
    top1: float
    perplexity_ratio: float
    by_text: dict[str, float]
    proven: bool | None


def held_out() -> dict[str, str]:
    """Texts that no calibration sees: three languages, and English and code from Python's own library."""
    import mailbox
    from pydoc_data.topics import topics

    own = {path.stem: path.read_text(encoding="utf-8") for path in sorted(_TEXTS.glob("*.txt"))}
    english = topics["assignment"]
    return {"english": english, "code": inspect.getsource(mailbox.Mailbox), **own}


def encoded(bundle: Bundle, texts: dict[str, str]) -> dict[str, list[int]]:
    """Each text's first ``LENGTH`` tokens, as the bundle's tokenizer cuts them.

    Raises:
        UsageError: one is too short.
    """
    from gemcut.prompt.codec import codec_of

    codec = codec_of(bundle)
    found = {name: codec.encode(text, add_special_tokens=True)[:LENGTH] for name, text in texts.items()}
    for name, ids in found.items():
        if len(ids) < LENGTH:
            raise UsageError(f"the text '{name}' has only {len(ids)} tokens")
    return found


def float_logits(checkpoint: Path, texts: dict[str, list[int]], folder: Path) -> dict[str, Path]:
    """The float model's logits of every position but the last, float32 [n, V], in files."""
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.checkpoint.weights import load_float_model
    from gemcut.reference.transformers_model import TransformersReference

    # In float32 throughout: in bfloat16, norms and the embedding's scale would be rounded too.
    reference = TransformersReference(load_float_model(open_checkpoint(str(checkpoint), chat_template="none")))
    found = {}
    for name, ids in texts.items():
        found[name] = folder / f"{name}.npy"
        np.save(found[name], reference.logits(ids)[:-1])
    return found


def rows_of(program: Path, runtime: str, ids: Sequence[int]) -> Iterator[Any]:
    """A program's logits after each token but the last, float32 [V]."""
    from gemcut.runtimes import get_runtime

    runner = get_runtime(runtime).engine.open(program)
    try:
        for position, token in enumerate(ids[:-1]):
            yield runner.prefill([token], 0) if position == 0 else runner.step(token, position)
    finally:
        runner.close()


@dataclass(frozen=True)
class Yardstick:
    """Texts as token ids, and files with the float model's logits of them."""

    texts: dict[str, list[int]]
    expected: dict[str, Path]

    def compare(self, title: str, runtime: str, size: int, rows: Rows, proven: bool | None = None) -> Quality:
        """Compares logits, text by text, to the float model's."""
        kl: dict[str, list[float]] = {}
        agree, ratio = [], []
        for name, own_rows in rows:
            float_rows = np.load(self.expected[name], mmap_mode="r")
            for row, target, own in zip(float_rows, self.texts[name][1:], own_rows, strict=True):
                p, q = log_softmax(row), log_softmax(own)
                kl.setdefault(name, []).append(float((np.exp(p) * (p - q)).sum()))
                agree.append(int(p.argmax() == q.argmax()))
                ratio.append(float(p[target] - q[target]))
        all_kl = [value for values in kl.values() for value in values]
        return Quality(
            recipe=title,
            runtime=runtime,
            size=size,
            mean_kl=float(np.mean(all_kl)),
            p99_kl=float(np.quantile(all_kl, 0.99)),
            top1=float(np.mean(agree)),
            perplexity_ratio=math.exp(float(np.mean(ratio))),
            by_text={name: float(np.mean(values)) for name, values in kl.items()},
            proven=proven,
        )


def export(checkpoint: Path, recipe: str, plain: bool, runtime: str, out: Path) -> Path:
    """One ``gemcut export`` in a process of its own; a failed gate is reported, and published all the same."""
    words = ["export", checkpoint, "--target", "android-arm64", "--runtime", runtime, "--recipe", recipe]
    more = ["--gate", "report", "--context", _CONTEXT, "-o", out, "--json"]
    template = [] if (checkpoint / "chat_template.jinja").is_file() else ["--chat-template", "none"]
    calibration = ["--calibration", "none"] if plain else []
    said = run_module("gemcut.cli", [*words, *more, *template, *calibration], f"gemcut export --recipe {recipe}")
    return Path(json.loads(said)["bundles"][0]["bundle"])


def _ways(recipes: Sequence[str], plain_too: bool) -> list[tuple[str, bool]]:
    """Each recipe with calibration and, if that makes a difference and is asked for, without."""
    from gemcut.calibrate.calibrator import needs_calibration
    from gemcut.quantize.recipe import load_recipe

    return [
        (name, plain)
        for name in recipes
        for plain in ((False, True) if plain_too else (False,))
        if not plain or needs_calibration(load_recipe(name))
    ]


@click.command(cls=Command)
@click.option(
    "--model",
    default="270m",
    show_default=True,
    metavar=f"{'|'.join(MODELS)}|DIR",
    help="A named model, or a checkpoint.",
)
@click.option(
    "--recipe", "recipes", multiple=True, metavar="NAME|FILE", help="May be repeated. Default: all but float32."
)
@click.option("--runtime", "runtimes", multiple=True, default=["executorch", "litert"], show_default=True)
@click.option("--plain/--no-plain", default=True, show_default=True, help="Each recipe without calibration too.")
@click.option("--rivals/--no-rivals", default=True, show_default=True, help="llama.cpp and LiteRT's own recipes too.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.html", help="Draw size against mean KL there.")
@json_option
def main(
    model: str,
    recipes: tuple[str, ...],
    runtimes: tuple[str, ...],
    plain: bool,
    rivals: bool,
    plot: Path | None,
    json_file: Path | None,
) -> None:
    """Measure size against fidelity on held-out text, each program run in its runtime."""
    kept = _Kept(model, machine(), json_file, [])
    chosen = _ways(recipes or [name for name in list_recipes() if name != "float32"], plain)
    with progress() as shown, scratch(_ROOM) as folder:
        shown.stage(f"writing {TITLES.get(model, model)}")
        checkpoint = make_checkpoint(model, folder) if model in MODELS else Path(model)
        if not (checkpoint / "config.json").is_file():
            raise UsageError(f"--model {model}: no such checkpoint", hint=f"Take {', '.join(MODELS)}, or a folder.")
        yardstick: Yardstick | None = None
        for runtime in runtimes:
            for recipe, uncalibrated in chosen:
                title = f"{recipe}, plain rounding" if uncalibrated else recipe
                shown.stage(f"{title} for {runtime}")
                out = export(checkpoint, recipe, uncalibrated, runtime, folder / "bundle")
                with open_bundle(out) as bundle:
                    yardstick = yardstick or _yardstick(bundle, checkpoint, folder)
                    kept.add(_ours(bundle, yardstick, title), shown)
                shutil.rmtree(out)
        assert yardstick is not None
        if rivals and "litert" in runtimes:
            for one in _litert(checkpoint, yardstick, folder, shown):
                kept.add(one, shown)
        if rivals and model in MODELS:
            for one in _llama_cpp(gguf_of(model, folder), yardstick, folder, shown):
                kept.add(one, shown)
    _show(kept.results, kept.machine)
    if plot is not None:
        _plot(kept.results, TITLES.get(model, model), plot)


@dataclass(frozen=True)
class _Kept:
    """What was measured so far. All of it takes more than an hour: each is said and written at once."""

    model: str
    machine: dict[str, Any]
    json_file: Path | None
    results: list[Quality]

    def add(self, one: Quality, shown: Any) -> None:
        self.results.append(one)
        shown.note(f"{one.recipe} in {one.runtime}: {one.size / 1e6:.1f} MB, {one.mean_kl:.4f} nats")
        write_json(self.json_file, "quality", {"machine": self.machine, "model": self.model, "results": self.results})


def _yardstick(bundle: Bundle, checkpoint: Path, folder: Path) -> Yardstick:
    texts = encoded(bundle, held_out())
    return Yardstick(texts, float_logits(checkpoint, texts, folder))


def _ours(bundle: Bundle, yardstick: Yardstick, title: str) -> Quality:
    manifest = bundle.manifest
    runtime, size = manifest.runtime.name, manifest.files[manifest.program].size
    rows = ((name, rows_of(bundle.program, runtime, ids)) for name, ids in yardstick.texts.items())
    return yardstick.compare(title, runtime, size, rows, manifest.proven)


def _litert(checkpoint: Path, yardstick: Yardstick, folder: Path, shown: Any) -> Iterator[Quality]:
    """The same weights through LiteRT's own exporter, with its own recipes."""
    shown.stage("LiteRT's own exporter")
    for title, program in litert_recipes.programs(checkpoint, folder, _CONTEXT):
        shown.stage(title)
        rows = ((name, rows_of(program, "litert", ids)) for name, ids in yardstick.texts.items())
        yield yardstick.compare(title, "litert", program.stat().st_size, rows)


def _llama_cpp(source: Path, yardstick: Yardstick, folder: Path, shown: Any) -> Iterator[Quality]:
    shown.stage("building llama.cpp, the first time")
    llama = llama_quality.LlamaCpp()
    for way, file in llama_quality.files(llama, source, folder):
        shown.stage(way.title)
        yield yardstick.compare(way.title, "llama.cpp", file.stat().st_size, llama.rows(file, yardstick.texts))


def _plot(results: Sequence[Quality], title: str, out: Path) -> None:
    import plotly.graph_objects as go

    traces = []
    for runtime in dict.fromkeys(one.runtime for one in results):
        of = sorted((one for one in results if one.runtime == runtime), key=lambda one: one.size)
        traces.append(
            go.Scatter(
                x=[one.size / 1e6 for one in of],
                y=[one.mean_kl for one in of],
                text=[one.recipe for one in of],
                mode="markers+text",
                textposition="top center",
                name=runtime,
            )
        )
    layout = {"title": f"{title}: size against mean KL", "xaxis_title": "MB", "yaxis_title": "mean KL, nats"}
    figure = go.Figure(traces, layout)
    figure.update_yaxes(type="log")
    figure.write_html(out)


def _show(results: Sequence[Quality], found: dict[str, Any]) -> None:
    head = ("recipe", "runtime", "MB", "mean KL", "p99 KL", "top-1", "perplexity", "passes its gate")
    rows = [
        (
            one.recipe,
            one.runtime,
            number(one.size / 1e6),
            number(one.mean_kl),
            number(one.p99_kl),
            f"{one.top1:.1%}",
            f"{one.perplexity_ratio:.3f}",
            {True: "yes", False: "no", None: "-"}[one.proven],
        )
        for one in sorted(results, key=lambda one: one.size)
    ]
    click.echo(machine_text(found))
    table(rows, head)


if __name__ == "__main__":
    main()
