"""Our ``.litertlm`` beside upstream's and our ``.pte``, of one checkpoint on one host: ``python -m benchmarks.litert``.

What is compared:

- ``ours .litertlm``: ``gemcut export --runtime litert``.
- ``upstream, same lengths``: ``litert_torch``'s ``export_hf`` with its default recipe, and the prefill lengths and the
  KV cache's length of ours. Upstream and we then do the same work per token.
- ``upstream, as it comes``: ``export_hf`` with all its defaults.
- ``ours .pte``: ``gemcut export --runtime executorch``.

Export: each in a process of its own, imports included. Ours also runs the float model, proves the bundle and
measures it, which upstream doesn't do: "of it, the file" leaves those stages out. Fidelity: KL(float || program)
over the whole vocabulary and agreement of the likeliest token, against transformers in float32, on the goldens' own
token ids, teacher-forced, by the same code for all. Speed and memory: each run in a fresh process, all in turn, round
by round; prefill of 128 and of 512 tokens and decode after 128, from an empty cache, each after a warm-up.

"app" is what an app gets: LiteRT-LM's engine, and for the ``.pte`` ExecuTorch's own runtime. The engine keeps packed
weights in a cache on disk: its first start writes it, the others load it. "signatures" is the same ``.litertlm`` in
``ai_edge_litert``'s Interpreter, as ``gemcut validate`` runs it: the KV cache passes through Python at every call and
no weight cache is used.

What is not comparable: our ``.litertlm`` carries its manifest and goldens, upstream's nothing of the kind: "program in
it" leaves out all but the program. Upstream as it comes has another KV cache's length: the longer it is, the slower
each token, and the larger the memory. Recipes differ in bits: look at the recipe's row beside size, speed and
fidelity. The engine's decode rate includes its sampler, that of the ``.pte`` does not. A random model's fidelity says
how near the arithmetic is, not what a user would notice. Peak memory is that of the whole process: a ``.pte``'s holds
torch, which an app doesn't need; "before opening" says how much of it was there before the program.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from gemcut import bench
from gemcut.bundle.reader import open_bundle
from gemcut.cli.views.table import table
from gemcut.errors import UsageError
from gemcut.report.console import ConsoleProgress
from gemcut.target import load_target

from .common import (
    Command,
    Figure,
    figure,
    json_option,
    machine,
    machine_text,
    progress,
    ratio,
    scratch,
    threads_option,
    write_json,
)
from .litert_runs import SHAPES, Fidelity, Start, first_start, run_engine, run_program
from .litert_steps import Asked, Export, Work, find_checkpoint, make_exports, make_fidelities, versions
from .llama_cpp import own_target

ROOMS = {"sample": 1 << 30, "tiny": 1 << 30, "270m": 8 << 30}  # bytes of disk at most
ROOM = 24 << 30
CACHES = "caches.part"


@dataclass(frozen=True)
class Speed:
    """One program over all rounds: load in seconds, rates in tokens per second, memory in bytes.

    memory_before: what the process had before the program was opened; peak_memory comes on top of it.
    """

    load: Figure
    prefill: dict[int, Figure]
    decode: Figure
    memory_before: Figure
    peak_memory: Figure


@dataclass(frozen=True)
class Contender:
    """All that was measured of one export.

    needed: arguments that upstream's call needed beside its defaults. exports: all figures of each run, as
    ``litert_steps.Export`` has them. size: of the file, program_size: of the program in it, bytes. app: as an app runs
    it. signatures: through the Interpreter. first_start and signatures are of a ``.litertlm`` alone.
    """

    name: str
    title: str
    recipe: str
    needed: dict[str, str]
    prefill_lengths: tuple[int, ...]
    cache_length: int
    size: int
    program_size: int
    exports: tuple[dict[str, Any], ...]
    fidelity: Fidelity
    app: Speed
    first_start: Start | None = None
    signatures: Speed | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table. unit: bytes or seconds of the figure shown. better: 'less', 'more', or '' for no ratio."""

    title: str
    of: Callable[[Contender], Figure | None]
    unit: float = 1.0
    better: str = ""


class Runs:
    """The runs of one export, in turn with the others'."""

    def __init__(self, export: Export, prompts: tuple[int, ...], steps: int, threads: int, work: Path) -> None:
        self.export = export
        self.job = bench.Job(export.runtime, str(export.program), prompts, (steps,), threads, prompts[0])
        self.work = work
        self.app: list[bench.Run] = []
        self.signatures: list[bench.Run] = []
        self.first: Start | None = None

    def start(self) -> None:
        """The engine's first start, with no weight cache yet."""
        if self.export.runtime == "litert":
            self.first = first_start(self.export.program, self.job.threads or 1, self.work)

    def round(self) -> None:
        """One run of each kind."""
        if self.export.runtime == "litert":
            self.app.append(run_engine(self.job, self.work))
            self.signatures.append(run_program(self.job))
        else:
            self.app.append(run_program(self.job))

    def result(self, context: int, prefill: tuple[int, ...], fidelity: Fidelity) -> Contender:
        """All of it as figures."""
        export = self.export
        return Contender(
            name=export.name,
            title=export.title,
            recipe=export.recipe,
            needed=export.needed,
            prefill_lengths=prefill,
            cache_length=export.lengths.cache if export.lengths else context,
            size=export.size,
            program_size=export.program_size,
            exports=export.runs,
            fidelity=fidelity,
            app=speed(self.job, self.app),
            first_start=self.first,
            signatures=speed(self.job, self.signatures) if self.signatures else None,
        )


def speed(job: bench.Job, runs: Sequence[bench.Run]) -> Speed:
    """All rounds of one program; of a prompt that was run twice the second counts."""
    return Speed(
        load=figure([run.load for run in runs]),
        prefill={
            prompt: figure([prompt / run.prefill[index] for run in runs]) for index, prompt in enumerate(job.prompts)
        },
        decode=figure([job.generations[0] / run.decode[0] for run in runs]),
        memory_before=figure([run.memory_before for run in runs]),
        peak_memory=figure([run.peak_memory for run in runs]),
    )


def measure_runs(
    work: Work,
    exports: Sequence[Export],
    fidelities: dict[str, Fidelity],
    threads: int,
    rounds: int,
    bar: ConsoleProgress,
) -> list[Contender]:
    """The engine's first starts, then ``rounds`` rounds of all in turn."""
    settings = [_context(export) for export in exports]
    context = min(length for length, _ in settings)
    first, *others = bench.usual_prompts(context)
    prompts = (first, *(prompt for other in others for prompt in (other, other)))  # bench warms the first up alone
    steps = bench.decode_steps(context)
    with _emptied(work.folder / CACHES) as folder:
        runs = [Runs(export, prompts, steps, threads, folder) for export in exports]
        for one in runs:
            bar.stage(f"first start: {one.export.title}")
            one.start()
        for index in range(rounds):
            for one in runs:
                bar.stage(f"round {index + 1} of {rounds}: {one.export.title}")
                one.round()
        return [one.result(*setting, fidelities[one.export.name]) for one, setting in zip(runs, settings, strict=True)]


def _context(export: Export) -> tuple[int, tuple[int, ...]]:
    """Tokens that it holds at most, and those of its prefill calls."""
    if export.bundle is None:
        assert export.lengths is not None
        return export.lengths.cache, export.lengths.prefill
    with open_bundle(export.bundle) as bundle:
        manifest = bundle.manifest
        return manifest.context, export.lengths.prefill if export.lengths else (manifest.prefill_chunk,)


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A new folder for large files that is gone afterwards, one that a killed run left behind too."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sections_of(ours: Contender) -> dict[str, list[Row]]:
    """The table's lines by section; those of speed by the prompts that ``ours`` was measured with."""
    return {
        "file, export, fidelity": [
            Row("file (MB)", lambda one: figure([one.size]), 1e6, "less"),
            Row("program in it (MB)", lambda one: figure([one.program_size]), 1e6, "less"),
            Row("export (s)", lambda one: _exports(one, "wall"), better="less"),
            Row("of it, the file (s)", lambda one: _exports(one, "program"), better="less"),
            Row("export's memory (MB)", lambda one: _exports(one, "peak_memory"), 1e6, "less"),
            Row("mean KL (nats)", lambda one: figure([one.fidelity.mean_kl]), better="less"),
            Row("99th percentile", lambda one: figure([one.fidelity.p99_kl]), better="less"),
            Row("top-1", lambda one: figure([one.fidelity.top1])),
        ],
        "app": [
            *_speed_rows(lambda one: one.app, ours.app),
            Row("first load (ms)", lambda one: _first(one, lambda start: start.load), 1e-3, "less"),
            Row("its peak memory (MB)", lambda one: _first(one, lambda start: start.peak_memory), 1e6, "less"),
            Row("weight cache (MB)", lambda one: _first(one, lambda start: start.weight_cache), 1e6, "less"),
        ],
        "signatures": _speed_rows(lambda one: one.signatures, ours.app),
    }


def _exports(one: Contender, part: str) -> Figure:
    return figure([run[part] for run in one.exports])


def _first(one: Contender, part: Callable[[Start], float]) -> Figure | None:
    return None if one.first_start is None else figure([part(one.first_start)])


def _speed_rows(of: Callable[[Contender], Speed | None], sample: Speed) -> list[Row]:
    def row(title: str, part: Callable[[Speed], Figure], unit: float = 1.0, better: str = "less") -> Row:
        def figures(one: Contender) -> Figure | None:
            found = of(one)
            return None if found is None else part(found)

        return Row(title, figures, unit, better)

    def rate(prompt: int) -> Row:
        return row(f"prefill {prompt} (tokens/s)", lambda it: it.prefill[prompt], better="more")

    return [
        *map(rate, sample.prefill),
        row("decode (tokens/s)", lambda it: it.decode, better="more"),
        row("load (ms)", lambda it: it.load, 1e-3),
        row("peak memory (MB)", lambda it: it.peak_memory, 1e6),
        row("before opening (MB)", lambda it: it.memory_before, 1e6, better=""),
    ]


def advantage(row: Row, ours: Contender, theirs: Contender) -> Figure | None:
    """Round by round how many times better ours is; None where either wasn't measured, or there is nothing to divide.

    Of what should be small theirs / ours, of what should be large ours / theirs: more than 1, ours is better.
    """
    mine, other = row.of(ours), row.of(theirs)
    if not row.better or mine is None or other is None:
        return None
    above, below = (mine, other) if row.better == "more" else (other, mine)
    return ratio(above, below) if below.min > 0 else None


def show(group: Sequence[Contender]) -> None:
    """The tables of one recipe: ours first, then those that it is held against."""
    ours, *others = group
    facts = [
        ("recipe", *(one.recipe for one in group)),
        ("prefill lengths", *(", ".join(map(str, one.prefill_lengths)) for one in group)),
        ("KV cache's length", *(str(one.cache_length) for one in group)),
    ]
    for section, rows in sections_of(ours).items():
        lines = [(row.title, *(_cell(row.of(one), row.unit) for one in group)) for row in rows]
        table([*facts, *lines], (section, *(one.title for one in group)))
        facts = []
    click.echo(f"Times that {ours.title} is better")
    for section, rows in sections_of(ours).items():
        lines = [(row.title, *(_cell(advantage(row, ours, one)) for one in others)) for row in rows if row.better]
        table(lines, (section, *(f"than {one.title}" for one in others)))
    for one in group:
        if one.needed:
            wanted = ", ".join(f"{name}={value!r}" for name, value in one.needed.items())
            click.echo(f"{one.title}: upstream's call fails on this model without {wanted}")


def _cell(found: Figure | None, unit: float = 1.0) -> str:
    return "" if found is None else found.text(unit)


def times(count: int) -> str:
    """``once``, or so many times."""
    return "once" if count == 1 else f"{count} times"


def groups_of(contenders: Sequence[Contender]) -> list[list[Contender]]:
    """One list per recipe, each for a table: our ``.litertlm``, both of upstream's, our ``.pte``."""
    litert = [one for one in contenders if one.name.startswith("litertlm-")]
    upstream = [one for one in contenders if one.name.startswith("upstream-")]
    pte = [one for one in contenders if one.name.startswith("pte-")]
    return [[mine, *upstream, other] for mine, other in zip(litert, pte, strict=True)]


@contextmanager
def _workplace(folder: Path | None, model: str, bar: ConsoleProgress) -> Iterator[Work]:
    """``--work DIR``, which stays, or a folder that is gone afterwards."""
    if folder is not None:
        yield Work(folder, bar)
        return
    with scratch(ROOMS.get(model, ROOM)) as temporary:
        yield Work(temporary, bar)


@click.command(cls=Command)
@click.option(
    "--model",
    default="sample",
    show_default=True,
    metavar="NAME|DIR",
    help=f"sample, a random Gemma 3 ({', '.join(sorted(SHAPES))}), or a checkpoint's directory.",
)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    metavar="NAME|FILE.toml",
    help="Of both our bundles; may be given several times. Default: the target's own.",
)
@click.option("--target", default=own_target(), show_default=True, help="See gemcut targets.")
@click.option("--context", type=click.IntRange(min=64), help="Slots of our KV cache. Default: the target's own.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Of runs, interleaved.")
@click.option("--exports", type=click.IntRange(min=1), default=1, show_default=True, help="Of each, interleaved.")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep checkpoints, exports and float logits there: a second run goes on from them. "
    "Default: a temporary folder.",
)
@threads_option
@json_option
def main(
    model: str,
    recipes: tuple[str, ...],
    target: str,
    context: int | None,
    rounds: int,
    exports: int,
    work: Path | None,
    threads: int,
    json_file: Path | None,
) -> None:
    """Compare our .litertlm with upstream's export and our .pte: size, fidelity, speed, memory, and the exports."""
    if len({Path(recipe).stem for recipe in recipes}) < len(recipes):
        raise UsageError("--recipe: each once, and files of different names")
    load_target(target)
    asked = Asked(target, recipes or (None,), context, exports)
    host = {**machine(), "packages": {**machine()["packages"], **versions()}}
    with ExitStack() as stack:
        bar = stack.enter_context(progress())
        place = stack.enter_context(_workplace(work, model, bar))
        checkpoint = find_checkpoint(place, model)
        made, failed = make_exports(place, checkpoint, asked)
        fidelities = make_fidelities(place, checkpoint, made)
        contenders = measure_runs(place, made, fidelities, threads, rounds, bar)
    click.echo(f"{model} for {target} on {machine_text(host, threads)}")
    click.echo(f"exported {times(exports)}, run {times(rounds)}; median (min–max)\n")
    for group in groups_of(contenders):
        show(group)
    for title, why in failed.items():
        click.echo(f"{title}: {why}")
    document = {"machine": host, "model": model, "target": target, "threads": threads, "rounds": rounds}
    write_json(json_file, "litert", {**document, "failed": failed, "results": contenders})


if __name__ == "__main__":
    main()
