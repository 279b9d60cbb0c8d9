"""What a bundle takes of the device that runs it: memory, storage, and roughly how fast it is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..runtimes.base import RuntimePlugin
from ..target import Target
from .constants import constants
from .memory import RunMemory, run_memory

if TYPE_CHECKING:
    from .shapes import Shapes

# Share of the bandwidth that a decode step of a 270M model reaches: ExecuTorch 1.5 on two cores.
REACHED = 0.6
_FLOAT = 4  # bytes
GB = 1_000_000_000

Verdict = Literal["yes", "tight", "no"]


@dataclass(frozen=True)
class DeviceClass:
    """Whether a bundle runs on devices with this much RAM.

    Attributes:
        ram: Their RAM, in bytes.
        app: What one app may hold of it, in bytes.
        verdict: 'yes' if the bundle's own memory and what it keeps mapped stay within ``app``; 'tight' if only its own
            does, so that the system drops mapped pages and reads them again; 'no' if not even its own does.
    """

    ram: int
    app: int
    verdict: Verdict


@dataclass(frozen=True)
class Running:
    """An estimate of a bundle on its device; sizes in bytes, speeds in tokens per second.

    Attributes:
        runtime: The runtime's name.
        recipe: The recipe's name.
        context: Slots of the KV cache.
        program: Bytes of the program.
        bundle: Bytes of all files of the bundle, which are those of a zip too.
        download_size: Bytes of them compressed, as the budget of that name has them; weights hardly shrink.
        device_size: Bytes on the device after the first start, as the budget of that name has them: the bundle, and
            what the runtime writes beside it.
        cache: Bytes of the KV cache, as it is allocated.
        memory: The most bytes resident at any time, besides the runtime's own code, until the context is full.
        own: Those of them that no file backs: the app's own memory.
        mapped: Those that stay mapped from files; the system may drop such pages and read them again.
        read: Bytes that one decode step reads with the cache half full; of experts, those that a token chooses.
        decode: Tokens per second of a reply.
        prefill: Tokens per second of a prompt.
        devices: Whether it runs, by the RAM of a device; empty if the target names no classes.
    """

    runtime: str
    recipe: str
    context: int
    program: int
    bundle: int
    download_size: int
    device_size: int
    cache: int
    memory: int
    own: int
    mapped: int
    read: int
    decode: float
    prefill: float
    devices: tuple[DeviceClass, ...]


def running(target: Target, runtime: RuntimePlugin, recipe: str, context: int, shapes: Shapes, folder: Path) -> Running:
    """Estimate one bundle.

    Args:
        target: The kind of device.
        runtime: The bundle's runtime.
        recipe: The recipe's name.
        context: Slots that a prompt and its reply may fill.
        shapes: The model's, as the recipe stores them, with the bundle's cache.
        folder: Has the checkpoint, or only config.json.
    """
    from .disk import files_of

    files = files_of(shapes, folder)
    memory = run_memory(shapes, runtime.weight_cache)
    read = sum(w.read for w in shapes.weights) + _FLOAT * shapes.others + shapes.cache.bytes // 2
    operations = sum(w.operations for w in shapes.weights if w.kind != "head")
    shrunk = int(constants().files.compressed * files.tokenizer)
    # A program that embeds the manifest holds tokenizer and proof too, beside which the bundle has them once more.
    embedded = shrunk + files.proof if runtime.embeds_manifest else 0
    bundle = files.bundle + embedded
    return Running(
        runtime=runtime.name,
        recipe=recipe,
        context=context,
        program=files.program + embedded,
        bundle=bundle,
        download_size=bundle - files.tokenizer + shrunk,
        device_size=bundle + memory.written,
        cache=shapes.cache.bytes,
        memory=memory.most,
        own=memory.own,
        mapped=memory.mapped,
        read=read,
        decode=round(REACHED * target.memory_bandwidth * GB / read, 1),
        prefill=round(target.compute * GB / operations, 1),
        devices=device_classes(target, memory),
    )


def device_classes(target: Target, memory: RunMemory) -> tuple[DeviceClass, ...]:
    """Return whether a bundle runs on each class of devices that a target names, the least RAM first."""
    found = []
    for one in target.ram_classes:
        app = int(one.app * GB)
        verdict: Verdict = "yes" if memory.own + memory.mapped <= app else "tight" if memory.own <= app else "no"
        found.append(DeviceClass(int(one.ram * GB), app, verdict))
    return tuple(found)
