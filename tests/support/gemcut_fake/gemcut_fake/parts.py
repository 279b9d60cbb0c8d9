"""The fake runtime's exporter, engine and inspector."""

from __future__ import annotations

import dataclasses
import filecmp
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gemcut.bundle.reader import Bundle
from gemcut.compat.needs import Requirement
from gemcut.errors import ConformanceError, UnsupportedError
from gemcut.modeling.kv_cache import CacheSpec
from gemcut.prove.runner import Method, TensorSpec
from gemcut.quantize.recipe import Recipe, Scheme
from gemcut.runtimes.base import Engine, Exporter, Inspector
from gemcut.runtimes.delegates import Delegate
from gemcut.runtimes.program import Artifacts, BuildSpec, Contents, Packaged, Program, Shape
from gemcut.runtimes.runs import Job, Run
from gemcut.util.arrays import Array, FloatArray
from gemcut.util.progress import Progress
from gemcut.util.stage_clock import StageClock

from .faults import meet, told

TABLE = "table.npy"
TWIST = "twist.txt"


class Lookup(Delegate):
    name = "lookup"
    title = "Lookup"

    def check_scheme(self, scheme: Scheme, columns: int, name: str, gathered: bool) -> None:
        if scheme.weight != "float32":
            raise UnsupportedError(f"{name}: the fake runtime stores float32 alone.", hint="Take --recipe float32.")


LOOKUP = Lookup()


class FakeExporter(Exporter):
    steps: ClassVar[Mapping[str, str]] = {"tabulate": "Making a table with {recipe}"}

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime

    def check(self, config: Any, recipe: Recipe, delegates: Sequence[str], oldest: str | None = None) -> None:
        meet("check")
        for rule in recipe.rules:
            LOOKUP.check_scheme(rule.scheme, 1, rule.match, gathered=False)

    def cache(self, config: Any, shape: Shape, options: Mapping[str, Any]) -> CacheSpec:
        from gemcut.modeling.kv_cache import cache_spec

        return cache_spec(config, shape.context, shape.prefill[-1])

    def build(self, spec: BuildSpec, model: Any, work: Path, clock: StageClock) -> Program:
        import torch

        with clock.stage("tabulate", recipe=spec.recipe.name):
            meet("build")
            vocabulary = int(spec.config.vocab_size)
            with torch.no_grad():
                found = model(input_ids=torch.arange(vocabulary).unsqueeze(1), use_cache=False)
            np.save(work / TABLE, found.logits[:, 0, :].float().numpy())
        entry = work / "model.fake"
        head = {"vocab_size": vocabulary, "context": spec.shape.context, "chunk": spec.shape.prefill[-1]}
        entry.write_text(json.dumps(head), encoding="utf-8")
        tokens = TensorSpec("token", "int64", (1,))
        return Program(
            runtime=self._runtime,
            runtime_version="0.1.0",
            artifacts=Artifacts("model.fake", {"model.fake": entry, TABLE: work / TABLE}),
            operators=("fake::lookup",),
            delegates={"Lookup": 1},
            vocab_size=vocabulary,
            context=spec.shape.context,
            prefill_chunk=spec.shape.prefill[-1],
            methods=(Method("next", (tokens,), (TensorSpec("logits", "float32", (vocabulary,)),)),),
            kernels=("fake::lookup",),
            tensors={"table": 4 * vocabulary * vocabulary},
        )

    def examine(self, program: Program) -> Program:
        meet("examine")
        return dataclasses.replace(program, delegated_macs=1.0)

    def companions(self, program: Program, options: Mapping[str, Any]) -> Mapping[str, Path]:
        if not options.get("fake_twist"):
            return {}
        twist = program.artifacts.path.with_name(TWIST)
        twist.write_text("a twist\n", encoding="utf-8")
        return {TWIST: twist}

    def package(self, program: Program, contents: Contents, out: Path, progress: Progress) -> Packaged:
        meet("package")
        files = {}
        for name, path in program.artifacts.files.items():
            (out / name).write_bytes(path.read_bytes())
            files[name] = out / name
        return Packaged(Artifacts(program.artifacts.entry, files), ("it is a fake",))


class FakeProgram:
    """A loaded table, as ``LoadedProgram`` and as ``Runner``."""

    def __init__(self, program: Path) -> None:
        meet("open")
        head = json.loads(program.read_text(encoding="utf-8"))
        self.vocab_size, self.max_context = head["vocab_size"], head["context"]
        self.prefill_chunk = head["chunk"]
        self._table: FloatArray = np.load(program.with_name(TABLE))

    @property
    def methods(self) -> Mapping[str, Method]:
        tokens = TensorSpec("token", "int64", (1,))
        logits = TensorSpec("logits", "float32", (self.vocab_size,))
        size = TensorSpec("vocab_size", "int64", ())
        return {"next": Method("next", (tokens,), (logits,)), "size": Method("size", (), (size,))}

    def call(self, method: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if method == "size":
            return {"vocab_size": np.array(self.vocab_size)}
        return {"logits": self.step(int(inputs["token"][0]), 0)}

    def prefill(self, ids: Sequence[int], position: int) -> FloatArray:
        return self.step(ids[-1], position + len(ids) - 1)

    def step(self, token: int, position: int) -> FloatArray:
        meet("run")
        if position >= self.max_context:
            raise ConformanceError(f"position {position} is past the context")
        row: FloatArray = self._table[token]
        return row[::-1].copy() if told("run") == "differ" else row.copy()

    def close(self) -> None:
        del self._table


class FakeEngine(Engine):
    def preload(self) -> None: ...

    def load(self, program: Path, threads: int | None = None) -> FakeProgram:
        return FakeProgram(program)

    def open(self, program: Path, threads: int | None = None, adapters: Sequence[Path] = ()) -> FakeProgram:
        return FakeProgram(program)

    def measure(self, job: Job, runs: int, progress: Progress) -> list[Run] | None:
        meet("measure")
        prefill, decode = (tuple(0.001 * count for count in counts) for counts in (job.prompts, job.generations))
        return [Run(0.001, prefill, decode, 1000, 2000, 1500, 400)] * runs


class FakeInspector(Inspector):
    def needs(self, bundle: Bundle) -> set[Requirement]:
        return {Requirement("operator", "fake::lookup")}

    def same_program(self, proven: Path, sealed: Path) -> None:
        if not filecmp.cmp(proven, sealed, shallow=False):
            raise ConformanceError(f"{sealed.name} is not the program that was proven.")
