"""The float model and the goldens that it makes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint.mapped import map_float_model
from .memory import give_back
from .prove.golden_files import save_goldens
from .prove.goldens import LogitsFile
from .prove.goldens import make_goldens as _make_goldens
from .prove.prompts import Prompt, choose_prompts, load_prompts
from .reference import TransformersReference
from .stages import Progress

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .draft import Draft
    from .planning import ExportPlan
    from .prove.template import ChatCodec

OWN_PROMPTS = "golden_prompts.jsonl"


@dataclass(frozen=True)
class Goldens:
    """files: by name in the bundle. logits: opens the float model's logits [N, V] of all scored positions.

    prompts: what it was asked.
    """

    files: dict[str, bytes]
    logits: Callable[[], LogitsFile]
    prompts: tuple[Prompt, ...]


def load_model(plan: ExportPlan, work: Path, progress: Progress | None = None) -> Any:
    """The transformers model of the checkpoint, its matrices in the mapped files; see ``map_float_model``."""
    from .scratch import Scratch

    return map_float_model(plan.checkpoint, Scratch(work), progress)


def make_goldens(plans: Sequence[ExportPlan], model: Any, codec: ChatCodec, work: Path, progress: Progress) -> Goldens:
    """Runs the float model on the checkpoint's own prompts and the built-in ones, as far as every plan holds them."""
    checkpoint, window = plans[0].checkpoint, plans[0].cache.window
    context = min(plan.shape.context for plan in plans)
    own_file = own_prompts(checkpoint)
    own = load_prompts(own_file) if own_file is not None and codec.has_template else []
    prompts = choose_prompts(codec, window, context, own)
    reference = TransformersReference(model)
    file = LogitsFile(work / "float_logits", reference.vocab_size)
    goldens = _make_goldens(reference, codec, prompts, checkpoint.stop_ids, context, logits=file, progress=progress)
    give_back()
    return Goldens(save_goldens(goldens), file.open, tuple(prompts))


def own_prompts(checkpoint: Checkpoint) -> Path | None:
    """The prompts that come with a fine-tune's adapter, else with the checkpoint."""
    folders = [checkpoint.path] if checkpoint.adapter is None else [checkpoint.adapter.path, checkpoint.path]
    return next((folder / OWN_PROMPTS for folder in folders if (folder / OWN_PROMPTS).is_file()), None)


def model_for(draft: Draft, drafts: Sequence[Draft], model: Any) -> Any:
    """The float model for one of several bundles: a runtime uses it up, so all but the last get a copy.

    The copy is of the modules alone; it shares every parameter and buffer with the original.
    """
    if draft is drafts[-1]:
        return model
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)
