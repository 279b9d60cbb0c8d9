"""The float model whose matrices stay in the checkpoint's memory-mapped files.

A page that is mapped from a file isn't a process's own memory: the system drops it when it needs room and reads it
again. What a model needs beside its matrices (norms, scales, biases, rotary tables) is small and in memory, float32.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedError
from .tensors import TensorIndex
from .weights import EMBEDDING, HEAD, check_finite, check_twin, weight_map

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedConfig

    from ..util.file_tensors import Scratch
    from ..util.progress import Progress
    from .opened import Checkpoint

# Elements that are looked at in one go.
CHUNK = 1 << 24


def map_float_model(checkpoint: Checkpoint, scratch: Scratch, progress: Progress | None = None) -> nn.Module:
    """Return transformers' causal language model of the text part over the checkpoint's own bytes, in eval mode.

    Matrices (parameters of two dimensions and more) keep their stored dtype and stay in the mapped files: they must not
    be written to, and the model must be run under ``reference.upcast.float32_at_use``. All else is float32.

    Args:
        checkpoint: As `open_checkpoint` returned it.
        scratch: Takes the matrices that no file has as they are, such as merged ones.
        progress: Told how many of the weights have been read and checked.

    Raises:
        CheckpointError: A tensor holds NaN or infinity, or a tied head differs from the embedding.
        UnsupportedError: The class in transformers has a large tensor that the checkpoint doesn't have.
    """
    import torch

    names, _ = weight_map(checkpoint.text_config, checkpoint.tensors)
    twin = names.pop(HEAD, None) if checkpoint.text_config.tie_word_embeddings else None
    model = empty_model(checkpoint.text_config)
    state: dict[str, torch.Tensor] = {}
    sizes = {name: math.prod(checkpoint.tensors.shape(stored)) for name, stored in names.items()}
    done, total = 0, sum(sizes.values())
    for name, stored in names.items():
        if progress is not None:
            progress.update(done, total, name)
        state[name] = _stored(checkpoint.tensors, stored, scratch)
        done += sizes[name]
    model.load_state_dict(state, strict=False, assign=True)
    model.tie_weights()
    if twin is not None:
        check_twin(state[EMBEDDING], checkpoint.tensors, twin, names[EMBEDDING])
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.device.type == "meta":
            raise UnsupportedError(
                f"{type(model).__name__} has a tensor '{name}' that no checkpoint holds.",
                hint="This family needs an adaptation that Gemcut does not have yet; please report it.",
            )
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None  # only training reads it
    model.requires_grad_(False)
    mapped: nn.Module = model.eval()
    return mapped


def empty_model(text_config: PreTrainedConfig) -> Any:
    """Return the model with its buffers as its constructors compute them, and its parameters on torch's meta device."""
    import torch
    from torch.overrides import TorchFunctionMode
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    class WithoutValues(TorchFunctionMode):
        """What is allocated to be filled later needs no memory: it is never filled."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            if func is torch.empty:
                kwargs["device"] = "meta"
            return func(*args, **kwargs)

    with no_init_weights(), WithoutValues():
        config = copy.deepcopy(text_config)
        # Eager: one expert after another, and only those that a token chose.
        return AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=torch.float32, experts_implementation="eager"
        )


def _stored(tensors: TensorIndex, stored: str, scratch: Scratch) -> torch.Tensor:
    """A tensor of the checkpoint, checked; matrices as mapped, all else float32 in memory."""
    import torch

    tensor = tensors.kept(stored, scratch)
    if tensor.dim() < 2:
        small = tensor.to(torch.float32, copy=True)
        check_finite(small, tensors, stored)
        return small
    rows = max(1, CHUNK // max(1, tensor[0].numel()))
    for first in range(0, len(tensor), rows):
        part = tensor[first : first + rows]
        check_finite(part if part.element_size() <= 4 else part.float(), tensors, stored)
    return tensor
