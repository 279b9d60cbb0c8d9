"""The float model and the goldens that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoint.mapped import map_float_model
from ..prove.golden_files import save_goldens
from ..prove.golden_generation import LogitsFile
from ..prove.golden_generation import make_goldens as _make_goldens
from ..prove.prompts import choose_prompts
from ..reference.transformers_model import TransformersReference
from ..util.process_memory import give_back
from ..util.progress import Progress
from .products import Goldens

if TYPE_CHECKING:
    from ..checkpoint.opened import Checkpoint
    from ..prompt.codec import ChatCodec
    from .plan import ExportPlan


def load_model(checkpoint: Checkpoint, work: Path, progress: Progress | None = None) -> Any:
    """Return the checkpoint's transformers model, with its matrices in mapped files; see ``map_float_model``."""
    from ..util.file_tensors import Scratch

    return map_float_model(checkpoint, Scratch(work), progress)


def make_goldens(plans: Sequence[ExportPlan], model: Any, codec: ChatCodec, work: Path, progress: Progress) -> Goldens:
    """Run the float model on the checkpoint's own prompts and the built-in ones, as far as they fit every plan."""
    checkpoint, window = plans[0].checkpoint, plans[0].cache.window
    context = min(plan.shape.context for plan in plans)
    asked = plans[0].prompts
    prompts = choose_prompts(codec, window, context, asked.own, built_in=asked.built_in)
    reference = TransformersReference(model)
    file = LogitsFile(work / "float_logits", reference.vocab_size)
    goldens = _make_goldens(reference, codec, prompts, checkpoint.stop_ids, context, logits=file, progress=progress)
    give_back()
    return Goldens(tuple(goldens), save_goldens(goldens), file.open, tuple(prompts))
