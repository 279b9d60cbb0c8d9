"""The golden runner for LiteRT, as it runs on a device: it needs only Python, numpy and ai_edge_litert.

Run as ``python -m gemcut.runtimes.litert.golden_runner`` from a folder with the modules that a device copies; see
``prove.wire`` for its verbs. ``prove.run`` itself runs the goldens there, with the LiteRT runner.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import EXIT_BUG, EXIT_USAGE, ConformanceError, GemcutError
from ...prompt.chats import Prompt
from ...prove.golden import Golden, Recorded
from ...prove.run import run_bundle
from ...prove.wire import ORDER_MAGIC, RESULT_MAGIC
from ...util.arrays import FloatArray
from ...util.platform import cpu_flags
from ...util.process_memory import MemoryMeter
from . import litert_lm_worker
from .runner import LiteRTRunner

_PACKAGES = ("ai-edge-litert", "litert-lm-api", "numpy")
_LARGEST = ("load", "memory_before", "peak_memory", "own_memory", "mapped_memory")
_CACHE = "bench-cache"
_Figures = dict[str, float]


def facts() -> dict[str, Any]:
    """Return what the device's own Python sees: the CPU's ``features``, the packages' ``versions``, and so on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    features = cpu_flags(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    return {
        "kernels": [],
        "backends": [],
        "version": found.get("ai-edge-litert", ""),
        "features": sorted(features),
        "versions": found,
        "python": sys.version.split()[0],
    }


@dataclass(frozen=True)
class _Order:
    """An order to run goldens.

    Attributes:
        goldens: The goldens, with those of their fields that ``run_bundle`` reads.
        context: Tokens that the program's context holds.
        stops: Ids that end a reply.
    """

    goldens: tuple[Golden, ...]
    context: int
    stops: frozenset[int]


def read_order(path: Path) -> _Order:
    """Read what ``prove.wire.write_order`` wrote.

    A golden's reply, which the order doesn't hold, is as many zeros as the order allows and isn't ended, so that
    ``reply_budget`` gives that number.

    Raises:
        ValueError: The file isn't an order, or is longer than one.
    """
    data = path.read_bytes()
    if not data.startswith(ORDER_MAGIC):
        raise ValueError(f"{path.name} is not an order for a golden runner")
    numbers = np.frombuffer(data, "<i4", offset=len(ORDER_MAGIC))
    count, _chunk, context, stop_count = (int(number) for number in numbers[:4])
    at = 4 + stop_count
    stops = frozenset(int(number) for number in numbers[4:at])
    goldens = []
    for index in range(count):
        prompt, ids, first, rows, width, most = (int(number) for number in numbers[at : at + 6])
        at += 6
        tokens = tuple(int(number) for number in numbers[at : at + ids])
        at += ids
        top = numbers[at : at + rows * width].reshape(rows, width).astype(np.int32)
        at += rows * width
        goldens.append(_golden(f"golden {index + 1}", tokens, prompt, first, top, most))
    if at != len(numbers):
        raise ValueError(f"{path.name} is {len(numbers) - at} numbers too long")
    return _Order(tuple(goldens), context, stops)


def _golden(name: str, ids: tuple[int, ...], prompt: int, first: int, top: npt.NDArray[np.int32], most: int) -> Golden:
    unknown = np.zeros(0, np.float32)  # the float model's figures: they stay where the comparison is made
    return Golden(
        prompt=Prompt(name, "text"),
        rendered="",
        prompt_ids=ids[:prompt],
        ids=ids,
        first=first,
        topk_ids=top,
        topk_logprobs=unknown,
        target_logprobs=unknown,
        greedy_ids=(0,) * most,
        greedy_text="",
        ended=False,
        margin=unknown,
    )


def write_result(found: Sequence[Recorded], path: Path) -> None:
    """Write what the goldens gave, in the form that ``prove.wire.read_result`` reads."""
    parts = [np.array([len(found)], "<i4").tobytes()]
    for one in found:
        reply = np.array([len(one.greedy_ids), *one.greedy_ids], "<i4")
        parts += [one.logprobs.astype("<f4").tobytes(), one.target_logprobs.astype("<f4").tobytes()]
        parts += [one.top1.astype("<i4").tobytes(), reply.tobytes()]
    path.write_bytes(RESULT_MAGIC + b"".join(parts))


class _Timed:
    """A runner that adds up seconds and tokens of its calls (see ``prove.runner.Runner``)."""

    def __init__(self, inner: LiteRTRunner) -> None:
        self._inner = inner
        self.vocab_size, self.max_context = inner.vocab_size, inner.max_context
        self.prefill_chunk = inner.prefill_chunk
        self.figures: _Figures = {"prefill": 0.0, "decode": 0.0, "tokens": 0, "steps": 0}

    def prefill(self, ids: Sequence[int], position: int) -> FloatArray:
        """See ``prove.runner.Runner``."""
        began = time.perf_counter()
        logits = self._inner.prefill(ids, position)
        self._add("prefill", "tokens", len(ids), began)
        return logits

    def step(self, token: int, position: int) -> FloatArray:
        """See ``prove.runner.Runner``."""
        began = time.perf_counter()
        logits = self._inner.step(token, position)
        self._add("decode", "steps", 1, began)
        return logits

    def _add(self, seconds: str, counted: str, count: int, began: float) -> None:
        self.figures[seconds] += time.perf_counter() - began
        self.figures[counted] += count

    def close(self) -> None:
        """See ``prove.runner.Runner``."""
        self._inner.close()


def _run_some(program: Path, threads: int, order: _Order, numbers: Sequence[int]) -> tuple[list[Recorded], _Figures]:
    """Runs these goldens in this process."""
    from ai_edge_litert import interpreter  # noqa: F401  (so that loading it counts as neither time nor memory)

    meter = MemoryMeter()
    began = time.perf_counter()
    runner = _Timed(LiteRTRunner(program, threads, order.context))
    load = time.perf_counter() - began
    try:
        goldens = [order.goldens[number] for number in numbers]
        meter.look()
        found = run_bundle(runner, goldens, order.stops, lambda ids: "", progress=_WithParent())
    finally:
        use = asdict(meter.use())
        runner.close()
    return list(found), {
        "load": load,
        **runner.figures,
        **{name: size for name, size in use.items() if size is not None},
    }


class _WithParent:
    """Ends this process after the present golden if its parent is gone (see ``util.progress.Progress``)."""

    def __init__(self) -> None:
        self._parent = os.getppid()

    def update(self, done: float, total: float, what: str = "") -> None:
        """See ``util.progress.Progress``."""
        if os.getppid() != self._parent:
            os._exit(EXIT_BUG)

    def stage(self, name: str) -> None:
        """See ``util.progress.Progress``."""

    def note(self, text: str) -> None:
        """See ``util.progress.Progress``."""


def _child(pipe: Connection, program: Path, threads: int, order: _Order, numbers: Sequence[int]) -> None:
    try:
        pipe.send(_run_some(program, threads, order, numbers))
    except GemcutError as error:
        pipe.send(error)
    finally:
        pipe.close()


def run(program: Path, order: Path, result: Path, threads: int, processes: int = 1) -> _Figures:
    """Run an order's goldens; return the figures that ``prove.wire`` names.

    Times are summed over the processes; ``load`` and memory are the largest process's. Under user-mode emulation,
    memory includes what the emulator takes for the program's code.

    Args:
        program: The program.
        order: The order's file.
        result: Where the result goes.
        threads: Threads of each process.
        processes: How many processes share the goldens.

    Raises:
        ConformanceError: The runtime refuses the program, or a process died.
    """
    read = read_order(order)
    by_length = sorted(range(len(read.goldens)), key=lambda number: len(read.goldens[number].ids))
    shares = [share for index in range(processes) if (share := by_length[index::processes])]
    if len(shares) < 2:
        parts = [_run_some(program, threads, read, share) for share in shares]
    else:
        parts = _run_forked(program, threads, read, shares)
    found: dict[int, Recorded] = {}
    for share, part in zip(shares, parts, strict=True):
        found.update(zip(share, part[0], strict=True))
    write_result([found[number] for number in range(len(found))], result)
    figures: _Figures = {}
    for _, part_figures in parts:
        for name, value in part_figures.items():
            figures[name] = max(figures.get(name, 0), value) if name in _LARGEST else figures.get(name, 0) + value
    return figures


def _run_forked(
    program: Path, threads: int, order: _Order, shares: Sequence[Sequence[int]]
) -> list[tuple[list[Recorded], _Figures]]:
    context = get_context("fork")  # under emulation Python can't be started again: the host can't run its executable
    started = []
    for share in shares:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(theirs, program, threads, order, share), daemon=True)
        child.start()
        theirs.close()
        started.append((child, ours))
    parts = []
    for child, pipe in started:
        try:
            part = pipe.recv()
        except EOFError as error:
            child.join()
            raise ConformanceError(f"the process that runs the program died (exit code {child.exitcode})") from error
        if isinstance(part, GemcutError):
            raise part
        parts.append(part)
        child.join()
    return parts


def bench(
    program: Path, threads: int, depth: int, prompts: Sequence[int], generations: Sequence[int]
) -> dict[str, Any]:
    """Measure LiteRT-LM's engine, which is what apps call; return the figures that ``prove.wire`` names.

    The engine's weight cache is written first if it isn't there yet, as it is on a device before the second start.

    Args:
        program: The program, which must never stop by itself (``id_tokenizer.write_without_stops``).
        threads: Threads to use.
        depth: Tokens in the cache before a generation, at least one.
        prompts: The prompts' lengths.
        generations: How many tokens each generation has.

    Raises:
        ConformanceError: The engine refuses the program, or the process that wrote its cache died.
    """
    cache = program.absolute().parent / _CACHE
    opened = {
        **litert_lm_worker.BENCH,
        "program": str(program),
        "cache": str(cache),
        "threads": threads,
        "depth": depth,
    }
    if not cache.is_dir():
        cache.mkdir()
        child = get_context("fork").Process(target=litert_lm_worker.bench, args=(opened, print))
        child.start()
        child.join()
        if child.exitcode:
            raise ConformanceError(f"LiteRT-LM's engine can't open the program (exit code {child.exitcode})")
    try:
        found = litert_lm_worker.bench({**opened, "prompts": prompts, "generations": generations}, print)
    except litert_lm_worker.Refused as error:
        raise ConformanceError(f"LiteRT-LM refuses the program: {error}") from error
    return {**found, "threads": threads}


def _lengths(text: str) -> list[int]:
    return [] if text == "-" else [int(length) for length in text.split(",")]


def engine(job: Path) -> None:
    """Run a job of ``litert_lm_worker``'s in LiteRT-LM's engine; the worker prints the result on stdout."""
    (job.parent / json.loads(job.read_bytes())["cache"]).mkdir(exist_ok=True)
    with job.open("rb") as file:
        os.dup2(file.fileno(), sys.stdin.fileno())
    litert_lm_worker.main()


def main(arguments: Sequence[str]) -> int:
    """Carry out the arguments' verb, print one JSON object, and return the exit code.

    Args:
        arguments: Those of ``prove.wire``, or ``engine JOB``; ``--processes N`` may come before them, to share the
            goldens among N processes: an emulated thread takes a core of the host, and the program has one thread.
    """
    processes = 1
    if arguments[:1] == ["--processes"]:
        processes, arguments = int(arguments[1]), arguments[2:]
    try:
        if arguments[:1] == ["facts"]:
            print(json.dumps(facts()))
        elif arguments[:1] == ["run"] and len(arguments) == 5:
            program, order, result = (Path(name) for name in arguments[1:4])
            print(json.dumps(run(program, order, result, int(arguments[4]), processes)))
        elif arguments[:1] == ["bench"] and len(arguments) == 7:
            threads, _chunk, depth = (
                int(word) for word in arguments[2:5]
            )  # how to cut a prompt is the engine's choice
            lengths = (_lengths(text) for text in arguments[5:7])
            print(json.dumps(bench(Path(arguments[1]), threads, depth, *lengths)))
        elif arguments[:1] == ["engine"] and len(arguments) == 2:
            engine(Path(arguments[1]))
        else:
            verbs = (
                "facts",
                "run PROGRAM ORDER RESULT THREADS",
                "bench PROGRAM THREADS CHUNK DEPTH PROMPTS GENERATIONS",
                "engine JOB",
            )
            print(f"usage: golden_runner [--processes N] {' | '.join(verbs)}", file=sys.stderr)
            return EXIT_USAGE
    except GemcutError as error:
        print(json.dumps({"error": error.message, "code": error.exit_code}))
        return 1
    except (OSError, ValueError) as error:
        print(json.dumps({"error": str(error), "code": EXIT_BUG}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
