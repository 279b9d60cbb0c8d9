"""The steps of ``benchmarks.litert`` that take long: each is done once in a work folder, and found there again.

A step's folder appears whole or not at all, so an interrupted benchmark goes on where it was. What a step was made
of (model, settings, versions, Gemcut's own source) is kept beside it, and a step of something else is made again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gemcut
from gemcut.bundle.reader import open_bundle
from gemcut.errors import GemcutError, UsageError
from gemcut.formats.litertlm import program_section
from gemcut.prove.golden_files import GOLDENS
from gemcut.target import load_target
from gemcut.util.progress import Progress

from .common import run_module
from .export import BEYOND_PROGRAM
from .litert_runs import SHAPES, Fidelity, make_checkpoint, make_reference, measure_fidelity, sample_checkpoint
from .litert_upstream import NEEDED, PRODUCT, Lengths, export_upstream, lengths_of

PACKAGES = (
    "torch",
    "transformers",
    "executorch",
    "torchao",
    "litert-torch",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "litert-lm",
)
RECORD = "step.json"
MARK = "gemcut-benchmark.json"
LOGITS = "logits.f32"

Made = dict[str, Any]


class Work:
    """A folder of finished steps.

    Raises:
        UsageError: The folder holds something else.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / MARK
        if not mark.exists():
            if any(folder.iterdir()):
                raise UsageError(f"{folder} holds something that is not this benchmark's", hint="Name a new folder.")
            mark.write_text('{"benchmark": "litert"}\n', encoding="utf-8")
        self.folder = folder
        self.progress = progress

    def step(self, name: str, title: str, key: Made, make: Callable[[Path], Made]) -> tuple[Path, Made]:
        """A step's folder, and what ``make`` returned of it when it was made.

        Args:
            name: of the folder. title: shown while it is made. key: what it is made of, as JSON.
            make: fills the folder that it is handed; nothing is left of it where it fails.
        """
        folder = self.folder / name
        made = _read(folder / RECORD)
        if made is not None and made["key"] == json.loads(json.dumps(key)):
            self.progress.note(f"{title}: found in {self.folder}")
            return folder, made["value"]
        self.progress.stage(title)
        part = self.folder / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
        try:
            part.mkdir()
            value = make(part)
            (part / RECORD).write_text(json.dumps({"key": key, "value": value}, indent=2) + "\n", encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return folder, value


def _read(record: Path) -> Made | None:
    try:
        made: Made = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return made


@dataclass(frozen=True)
class Asked:
    """What is to be exported. recipes: Gemcut's, None for the target's own. context: None for the target's own."""

    target: str
    recipes: tuple[str | None, ...] = (None,)
    context: int | None = None
    runs: int = 1


@dataclass(frozen=True)
class Export:
    """One way to bring the model to a file, over all runs of it.

    runtime: as ``gemcut.runtimes`` names it. recipe: Gemcut's own name or upstream's. program: the file that the
    first run made, ``size`` bytes, of which ``program_size`` are the program itself. bundle: ours alone. needed: what
    upstream's call needed beside its defaults. runs: of each, ``wall`` seconds of the whole process, ``program``, of
    them those to the program on the disk (see ``BEYOND_PROGRAM``), ``seconds`` by stage, and ``peak_memory`` in bytes.
    key: what it was made of.
    """

    name: str
    title: str
    runtime: str
    recipe: str
    program: Path
    bundle: Path | None
    lengths: Lengths | None
    needed: dict[str, str]
    size: int
    program_size: int
    runs: tuple[Made, ...]
    key: Made


@dataclass(frozen=True)
class Way:
    """How one contender is exported.

    program: where its file then lies. make: fills a folder and returns the figures that ``Export`` names.
    may_fail: whether the benchmark goes on without it.
    """

    name: str
    title: str
    runtime: str
    program: str
    key: Made
    make: Callable[[Path], Made]
    may_fail: bool = False


def find_checkpoint(work: Work, model: str) -> Path:
    """The checkpoint of ``--model``: the sample's, a random one of that shape (made if need be), or a directory.

    Raises:
        UsageError: It is none of them.
    """
    if model == "sample":
        return sample_checkpoint()
    if model not in SHAPES:
        if not Path(model, "config.json").is_file():
            known = ", ".join(("sample", *sorted(SHAPES)))
            raise UsageError(f"--model {model}: no such checkpoint", hint=f"Take {known}, or a checkpoint's directory.")
        return Path(model)
    key = {"shape": model, "transformers": version("transformers"), "torch": version("torch")}
    folder, _ = work.step(
        f"checkpoint-{model}", f"writing a random Gemma 3 {model}", key, lambda part: _checkpoint(model, part)
    )
    return folder / "model"


def _checkpoint(shape: str, part: Path) -> Made:
    make_checkpoint(shape, part / "model")
    return {}


def make_exports(work: Work, checkpoint: Path, asked: Asked) -> tuple[list[Export], dict[str, str]]:
    """Exports by every way, ``asked.runs`` times in turn; the files of the first are kept.

    In the order of the table: ours for LiteRT, upstream with the lengths of ours, upstream as it comes, ours for
    ExecuTorch.

    Returns:
        The exports, and why upstream's failed, by title: that ends no benchmark.
    """
    return export_in_turn(work, lambda: ways(work, checkpoint, asked), asked.runs)


def export_in_turn(work: Work, ways: Callable[[], Iterable[Way]], runs: int) -> tuple[list[Export], dict[str, str]]:
    """Goes through ``ways`` so many times; see ``make_exports``."""
    made: dict[str, list[tuple[Path, Made]]] = {}
    taken: dict[str, Way] = {}
    failed: dict[str, str] = {}
    for index in range(runs):
        for way in ways():
            if way.title in failed:
                continue
            title = f"exporting: {way.title}{f', run {index + 1} of {runs}' if runs > 1 else ''}"
            name = f"export-{way.name}{f'-{index + 1}' if index else ''}"
            try:
                found = work.step(name, title, way.key, _keeping(way, keep=index == 0))
            except GemcutError as error:
                if not way.may_fail:
                    raise
                work.progress.note(f"{way.title} failed")
                failed[way.title] = error.message
                made.pop(way.name, None)
                continue
            taken[way.name] = way
            made.setdefault(way.name, []).append(found)
    return [_export(taken[name], found) for name, found in made.items()], failed


def ways(work: Work, checkpoint: Path, asked: Asked) -> Iterator[Way]:
    """The ways in turn. Upstream with the same lengths is made after ours, whose lengths it takes."""
    stamp = {"checkpoint": _files(checkpoint), "versions": versions()}
    ours = [_ours(checkpoint, asked, "litert", recipe, stamp) for recipe in asked.recipes]
    yield from ours
    lengths = lengths_of(work.folder / f"export-{ours[0].name}" / ours[0].program)
    yield upstream_way("upstream-same-lengths", "upstream, same lengths", checkpoint, lengths, stamp)
    yield upstream_way("upstream-as-it-comes", "upstream, as it comes", checkpoint, None, stamp)
    for recipe in asked.recipes:
        yield _ours(checkpoint, asked, "executorch", recipe, stamp)


def _ours(checkpoint: Path, asked: Asked, runtime: str, recipe: str | None, stamp: Made) -> Way:
    kind = {"litert": "litertlm", "executorch": "pte"}[runtime]
    settings = {"runtime": runtime, "recipe": recipe and _text(recipe), "context": asked.context}
    key = {**stamp, **settings, "target": load_target(asked.target).path.read_text(), "source": source_hash()}
    name = f"{kind}-{Path(recipe).stem if recipe else 'default'}"
    title = f"ours .{kind}{f' {Path(recipe).stem}' if recipe else ''}"

    def make(part: Path) -> Made:
        words: list[object] = ["export", checkpoint, "--target", asked.target, "--runtime", runtime]
        words += ["-o", part / "bundle", "--gate", "report", "--json"]
        words += ["--recipe", recipe] if recipe else []
        words += ["--context", asked.context] if asked.context else []
        environment = {"TMPDIR": str(part), "GEMCUT_CACHE": str(part / "cache")}  # Nothing of an earlier export helps.
        began = time.perf_counter()
        said = json.loads(run_module("gemcut.cli", words, f"gemcut export ({title})", environment))
        wall = time.perf_counter() - began
        shutil.rmtree(part / "cache", ignore_errors=True)
        with open_bundle(part / "bundle") as bundle:
            used, proven = bundle.manifest.recipe.name, bundle.manifest.proven
        beyond = sum(said["seconds"].get(stage, 0.0) for stage in BEYOND_PROGRAM)
        return {
            "wall": wall,
            "program": wall - beyond,
            "peak_memory": said["peak_memory"],
            "recipe": used,
            "seconds": said["seconds"],
            "proven": proven,
            "needed": {},
        }

    return Way(name, title, runtime, f"bundle/model.{kind}", key, make)


def upstream_way(name: str, title: str, checkpoint: Path, lengths: Lengths | None, stamp: Made) -> Way:
    """Upstream's export, with these lengths or its own; it may fail: it takes memory, and not every model."""
    key = {**stamp, "lengths": lengths and asdict(lengths), "needed": NEEDED}

    def make(part: Path) -> Made:
        prefill, cache = (lengths.prefill, lengths.cache) if lengths else ((), None)
        said = export_upstream(checkpoint, part / PRODUCT, prefill, cache)
        return {**said, "program": said["wall"]}

    return Way(name, title, "litert", PRODUCT, key, make, may_fail=True)


def _keeping(way: Way, keep: bool) -> Callable[[Path], Made]:
    """``way.make``, with the program's size; without ``keep`` its files are removed once they are measured."""

    def make(part: Path) -> Made:
        value = {**way.make(part), "size": (part / way.program).stat().st_size}
        if not keep:
            for path in part.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return value

    return make


def _export(way: Way, runs: list[tuple[Path, Made]]) -> Export:
    folder, first = runs[0]
    program = folder / way.program
    return Export(
        name=way.name,
        title=way.title,
        runtime=way.runtime,
        recipe=first["recipe"],
        program=program,
        bundle=folder / "bundle" if (folder / "bundle").is_dir() else None,
        lengths=lengths_of(program) if way.runtime == "litert" else None,
        needed=first["needed"],
        size=first["size"],
        program_size=program_section(program).size if way.runtime == "litert" else first["size"],
        runs=tuple(value for _, value in runs),
        key=way.key,
    )


def make_fidelities(work: Work, checkpoint: Path, exports: list[Export]) -> dict[str, Fidelity]:
    """Each program against the float model, by name: on the goldens of the first of our bundles."""
    bundle = next(export.bundle for export in exports if export.bundle is not None)
    goldens = {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in GOLDENS}
    stamp = {"goldens": goldens, "source": source_hash()}
    key = {**stamp, "checkpoint": _files(checkpoint), "versions": versions()}
    folder, _ = work.step(
        "reference",
        "running the float model",
        key,
        lambda part: {"positions": make_reference(checkpoint, bundle, part / LOGITS)},
    )

    def one(export: Export) -> Fidelity:
        def make(part: Path) -> Made:
            return asdict(measure_fidelity(export.runtime, export.program, bundle, folder / LOGITS))

        key = {**stamp, "export": export.key}
        return Fidelity(**work.step(f"fidelity-{export.name}", f"fidelity: {export.title}", key, make)[1])

    return {export.name: one(export) for export in exports}


def versions() -> dict[str, str]:
    """The packages that the exports depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _text(recipe: str) -> str:
    """A recipe's name, or what stands in its file."""
    return Path(recipe).read_text(encoding="utf-8") if recipe.endswith(".toml") else recipe


@functools.cache
def source_hash() -> str:
    """SHA-256 of Gemcut's own source and data files: its version doesn't change with each edit."""
    root = Path(gemcut.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".toml", ".json") and path.is_file():
            digest.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files(checkpoint: Path) -> Made:
    """Names, sizes and times of a checkpoint's files."""
    stats = {path.name: path.stat() for path in sorted(checkpoint.iterdir()) if path.is_file()}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
