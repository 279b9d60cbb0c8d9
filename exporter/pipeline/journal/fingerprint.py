"""What makes two exports the same: every input, in one hash."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...bundle.hashing import hash_file
from ...checkpoint.hub import TOKENIZER_FILES
from ...util.packages import public_version
from ...util.platform import host_threads, processor

if TYPE_CHECKING:
    from ...checkpoint.opened import Checkpoint
    from ...devices import Options
    from ...quantize.recipe import Recipe
    from ..plan import ExportPlan

# Bytes; larger files (weights) count by size, times and inode, as reading them would take minutes.
SMALL = 1 << 20
# The libraries of every export; a runtime names its own.
_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "jinja2")


def keys_of(plans: Sequence[ExportPlan]) -> list[str]:
    """Return a key for each plan: equal only if an export of all plans would make the same bundle of that one.

    It leaves out what affects nothing that is kept: format, gate, budgets, and which devices to prove it on.
    """
    shared = {
        "gemcut": __version__,
        "sources": own_sources(),
        "python": sys.version,
        "processor": processor(),
        "libraries": {name: public_version(name) for name in _LIBRARIES},
        "checkpoint": _checkpoint_inputs(plans[0].checkpoint),
        "plans": [_plan_inputs(plan) for plan in plans],
    }
    return [_hash({**shared, "of": index}) for index in range(len(plans))]


def program_keys(plan: ExportPlan) -> tuple[str, str]:
    """Return two keys of a bundle's program: equal only if building it again would give the same.

    Where the checkpoint lies, and what is asked about the prompts, the devices and the bundle's form, isn't in them.

    Args:
        plan: What is to be built.

    Returns:
        The key of the program; and that of one whose calibration was held to the recipe's gate first.
    """
    spec, checkpoint = plan.spec, plan.checkpoint
    recipe = dataclasses.asdict(spec.recipe)
    gate = recipe.pop("gate")
    words = None
    if plan.text is not None:
        text = [plan.text.name, plan.text.sha256]  # the manifest has both
        words = [*text, _tokenizer_contents(checkpoint), checkpoint.chat_template, checkpoint.special_tokens]
    key = _hash(
        {
            **_float_inputs(checkpoint),
            "lowering": {name: public_version(name) for name in ("torchao", *plan.runtime.libraries)},
            "runtime": [plan.runtime.name, plan.runtime.version()],
            "config": _config_text(spec.config),
            "recipe": recipe,
            "spec": [dataclasses.asdict(spec.shape), dataclasses.asdict(spec.cache), spec.stop_ids, spec.bos_id],
            "choices": [spec.delegates, dict(spec.options)],
            "calibration": words,
        }
    )
    return key, _hash([key, gate])


def reference_key(plans: Sequence[ExportPlan]) -> str:
    """Return a key of the float model's outputs: equal only if running it on the prompts again would give the same.

    Where the checkpoint lies isn't in it, nor anything that quantization, a runtime or a device is asked for.

    Args:
        plans: Those of one export.
    """
    first = plans[0]
    checkpoint, prompts = first.checkpoint, first.prompts
    return _hash(
        {
            **_float_inputs(checkpoint),
            "config": _config_text(checkpoint.text_config),
            "words": [_tokenizer_contents(checkpoint), checkpoint.chat_template, checkpoint.special_tokens],
            "stop": [checkpoint.stop_ids, checkpoint.bos_id],
            "prompts": [prompts.built_in, [dataclasses.asdict(prompt) for prompt in prompts.own]],
            "room": [first.cache.window, min(plan.shape.context for plan in plans)],
        }
    )


def _float_inputs(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the float model's arithmetic comes from: code, machine, weights and adapter."""
    adapter = checkpoint.adapter
    return {
        "gemcut": __version__,
        "sources": own_sources(),
        "python": sys.version,
        "processor": [processor(), host_threads(), os.environ.get("OMP_NUM_THREADS")],
        "libraries": {name: public_version(name) for name in _LIBRARIES},
        "weights": [
            checkpoint.hashes[shard.relative_to(checkpoint.path).as_posix()] for shard in checkpoint.tensors.shards
        ],
        "adapter": adapter and _contents(sorted(path for path in adapter.path.iterdir() if path.is_file())),
    }


def _config_text(config: Any) -> dict[str, Any]:
    """A text configuration without the place that it was read from."""
    return {**json.loads(config.to_json_string(use_diff=False)), "_name_or_path": ""}


def _tokenizer_contents(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    return _contents(path for pattern in TOKENIZER_FILES for path in sorted(checkpoint.words.glob(pattern)))


def sensitivity_key(checkpoint: Checkpoint, text: str, recipe: Recipe) -> str:
    """Return a key of a checkpoint's sensitivity: equal only if measuring it again would give the same.

    Args:
        checkpoint: The opened checkpoint.
        text: The hash of the calibration text.
        recipe: The recipe of the smallest mix.
    """
    return _hash(
        {
            "gemcut": __version__,
            "sources": own_sources(),
            "libraries": {name: public_version(name) for name in _LIBRARIES},
            "checkpoint": _checkpoint_inputs(checkpoint),
            "text": text,
            "recipe": dataclasses.asdict(recipe),
        }
    )


@functools.cache
def own_sources() -> str:
    """Return the hash of Gemcut's own files: during development they change and the version number doesn't.

    The sample's weights are left out: they count as the checkpoint that they are.
    """
    package = Path(__file__).resolve().parents[2]
    files = (
        path
        for path in package.rglob("*")
        if "__pycache__" not in path.parts and path.suffix != ".safetensors" and path.is_file()
    )
    return _hash([(path.relative_to(package).as_posix(), marks(path)) for path in sorted(files)])


def device_key(spec: str, options: Options) -> str:
    """Return a key of a proof on a device: another device, library, time limit or memory has another key."""
    argument = Path(spec.partition(":")[2] or ".")
    file = marks(argument) if argument.is_file() else None
    return _hash([spec, dataclasses.asdict(options), file])[:16]


def marks(path: Path) -> list[int | str]:
    """Return what tells whether a file changed: the hash of a small one; size, times and inode of a larger one."""
    stat = path.stat()
    if stat.st_size <= SMALL:
        return [hashlib.sha256(path.read_bytes()).hexdigest()]
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_dev, stat.st_ino]


def _checkpoint_inputs(checkpoint: Checkpoint) -> dict[str, Any]:
    files = list(checkpoint.sources())
    adapter = checkpoint.adapter
    if adapter is not None:
        files += sorted(path for path in adapter.path.iterdir() if path.is_file())
    return {
        "name": checkpoint.name,
        "source": checkpoint.source,
        "revision": checkpoint.revision,
        "path": checkpoint.path,
        "adapter": adapter.path if adapter else None,
        "files": _marked(files),
        "text_config": checkpoint.text_config.to_json_string(use_diff=False),
        "chat_template": checkpoint.chat_template,
        "generation": checkpoint.generation,
        "stop_ids": checkpoint.stop_ids,
        "bos_id": checkpoint.bos_id,
    }


def _plan_inputs(plan: ExportPlan) -> dict[str, Any]:
    return {
        "runtime": [plan.runtime.name, plan.runtime.version()],
        "libraries": {name: public_version(name) for name in plan.runtime.libraries},
        "target": dataclasses.asdict(plan.target),
        "recipe": dataclasses.asdict(plan.recipe),
        "shape": dataclasses.asdict(plan.shape),
        "cache": dataclasses.asdict(plan.cache),
        "options": dict(plan.options),
        "calibration": plan.text.sha256 if plan.text else None,
        "prompts": [plan.prompts.built_in, _marked(filter(None, [plan.prompts.file]))],
    }


def _contents(files: Iterable[Path]) -> list[tuple[str, str]]:
    return [(path.name, hash_file(path).sha256) for path in files]


def _marked(files: Iterable[Path]) -> list[tuple[str, list[int | str]]]:
    return sorted({str(path): marks(path) for path in files}.items())


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
