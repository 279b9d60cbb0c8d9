"""Random-weight checkpoints of any shape, for tests and benchmarks: they load, run and talk nonsense.

Weights are drawn so that the logits are spread like a trained model's: matrices with a standard deviation
of 1/sqrt(fan-in), norms close to one, and a final norm of `_FINAL_GAIN`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import string
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .tensors import INDEX, SINGLE

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedConfig

_FINAL_GAIN = 3.0
_NORM_SPREAD = 0.05
_FINAL_NORMS = ("model.norm", "language_model.norm", "model.embedding_norm", "model.final_layernorm")
_CHUNK = 1 << 24
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_CONTROLS = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>")
_TURN_ENDS = ("<turn|>", "<end_of_turn>")
_TEMPLATE = """{{ '<bos>' }}{% for message in messages %}{{ '<start_of_turn>' -}}
{{ 'model' if message['role'] == 'assistant' else message['role'] }}
{{ message['content'] | trim }}{{ '<end_of_turn>' }}
{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""


def random_checkpoint(
    directory: Path,
    config: PreTrainedConfig,
    *,
    seed: int = 0,
    tokenizer_from: Path | None = None,
    dtype: torch.dtype | None = None,
    max_shard_size: int = 1 << 30,
) -> Path:
    """Write a checkpoint with random weights; the same arguments give the same bytes.

    One shard is in memory at a time.

    Args:
        directory: Where to write; it is made if need be, and files in it are overwritten.
        config: A transformers configuration, of a text model or of a multimodal one.
        seed: The seed of the weights.
        tokenizer_from: A directory with tokenizer.json and tokenizer_config.json, padded with ``<unused…>``
            up to the vocabulary; None for the sample's if it fits, else a small byte-fallback one.
        dtype: The weights' dtype; None for bfloat16.
        max_shard_size: Most bytes of a shard; a single tensor may be larger.

    Returns:
        The directory.

    Raises:
        UsageError: The vocabulary is too small for any tokenizer.
    """
    import torch

    dtype = dtype or torch.bfloat16
    directory.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(directory, config.get_text_config(decoder=True).vocab_size, tokenizer_from)
    shapes, architecture, one_plus = _parameters(config)
    _write_config(directory, config, architecture, dtype)
    shards = list(_shards(shapes, dtype.itemsize, max_shard_size))
    names: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(shards, start=1):
        file = SINGLE if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        total += _write_shard(directory / file, {name: shapes[name] for name in shard}, seed, dtype, one_plus)
        names.update(dict.fromkeys(shard, file))
    if len(shards) > 1:
        _write_json(directory / INDEX, {"metadata": {"total_size": total}, "weight_map": names})
    return directory


def _parameters(config: PreTrainedConfig) -> tuple[dict[str, tuple[int, ...]], str, bool]:
    """Names and shapes of what transformers would save, the model's class, and whether its norms multiply by 1 + w."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    tied = set(model.all_tied_weights_keys)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items() if name not in tied}
    return shapes, type(model).__name__, _norms_add_one(model)


def _norms_add_one(model: nn.Module) -> bool:
    """Whether the decoder's final norm multiplies by 1 + w, not by w: a norm of its class tells, with w = 0."""
    import torch

    final = next((module for name, module in model.named_modules() if name.endswith(_FINAL_NORMS)), None)
    if final is None or getattr(final, "weight", None) is None:
        return False
    norm = type(final)(2)
    with torch.no_grad():
        norm.weight.zero_()
        return bool(norm(torch.ones(1, 2)).any())


def _shards(shapes: dict[str, tuple[int, ...]], itemsize: int, limit: int) -> Iterator[list[str]]:
    shard: list[str] = []
    size = 0
    for name, shape in shapes.items():
        nbytes = math.prod(shape) * itemsize
        if shard and size + nbytes > limit:
            yield shard
            shard, size = [], 0
        shard.append(name)
        size += nbytes
    yield shard


def _write_shard(path: Path, shapes: dict[str, tuple[int, ...]], seed: int, dtype: torch.dtype, one_plus: bool) -> int:
    from safetensors.torch import save_file

    tensors = {name: _draw(name, shape, seed, dtype, one_plus) for name, shape in shapes.items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return sum(tensor.nbytes for tensor in tensors.values())


def _draw(name: str, shape: tuple[int, ...], seed: int, dtype: torch.dtype, one_plus: bool) -> torch.Tensor:
    """One tensor, from a generator of its own, so that shards and order don't matter."""
    import torch

    mean, spread = _distribution(name, shape, one_plus)
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
    tensor = torch.empty(shape, dtype=dtype)
    flat = tensor.view(-1)
    for first in range(0, flat.numel(), _CHUNK):
        part = flat[first : first + _CHUNK]
        part.copy_(torch.randn(part.numel(), generator=generator).mul_(spread).add_(mean))
    return tensor


def _distribution(name: str, shape: tuple[int, ...], one_plus: bool) -> tuple[float, float]:
    """Mean and standard deviation of a parameter, by its name and shape."""
    if name.endswith("embed_tokens_per_layer.weight"):
        return 0.0, 1.0 / 16.0
    if len(shape) > 1:
        experts = ".experts." in name  # stacked: the first dimension counts them
        return 0.0, 1.0 / math.sqrt(math.prod(shape[2 if experts else 1 :]))
    if name.endswith("bias"):
        return 0.0, 0.0
    if "norm" in name:
        vision = "vision" in name or "audio" in name
        gain = _FINAL_GAIN if name.removesuffix(".weight").endswith(_FINAL_NORMS) else 1.0
        return (gain - 1.0 if one_plus and not vision else gain), _NORM_SPREAD
    return 1.0, 0.0


def _write_config(directory: Path, config: PreTrainedConfig, architecture: str, dtype: torch.dtype) -> None:
    settings = json.loads(config.to_json_string(use_diff=False))
    settings |= {"architectures": [architecture], "dtype": str(dtype).removeprefix("torch.")}
    known = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    ends = [known[name] for name in ("<eos>", *_TURN_ENDS) if name in known]
    settings["eos_token_id"] = ends
    _write_json(directory / "config.json", settings)
    generation = {"bos_token_id": known.get("<bos>"), "eos_token_id": ends}
    _write_json(directory / "generation_config.json", generation)


def _write_tokenizer(directory: Path, vocab_size: int, source: Path | None) -> None:
    if source is None:
        sample = Path(str(resources.files(__package__.rpartition(".")[0]).joinpath("sample", "model")))
        source = sample if _tokens_of(sample) <= vocab_size else None
    if source is None:
        state, settings, template = _small_tokenizer()
    else:
        if not all((source / name).exists() for name in _TOKENIZER):
            raise UsageError(
                f"{source} lacks one of {', '.join(_TOKENIZER)}", hint="name a directory that holds a tokenizer"
            )
        state = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
        settings = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
        template = (source / "chat_template.jinja").read_text(encoding="utf-8")
    _pad(state, vocab_size)
    _write_json(directory / "tokenizer.json", state)
    _write_json(directory / "tokenizer_config.json", settings)
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")


def _tokens_of(folder: Path) -> float:
    """How many ids a directory's tokenizer has; infinity if it has no tokenizer."""
    if not all((folder / name).exists() for name in _TOKENIZER):
        return math.inf
    return max(_ids(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")))) + 1


def _ids(state: dict[str, Any]) -> set[int]:
    return {*state["model"]["vocab"].values(), *(token["id"] for token in state["added_tokens"])}


def _pad(state: dict[str, Any], vocab_size: int) -> None:
    """Names every id of the vocabulary: plain entries that no merge leads to, so no text becomes one."""
    used = _ids(state)
    if max(used) >= vocab_size:
        raise UsageError(
            f"a vocabulary of {vocab_size} is too small for a tokenizer of {max(used) + 1} tokens",
            hint=f"choose a vocab_size of {max(used) + 1} or more",
        )
    vocabulary = state["model"]["vocab"]
    names = (name for name in map("<unused{}>".format, itertools.count()) if name not in vocabulary)
    vocabulary |= {next(names): index for index in range(vocab_size) if index not in used}


def _small_tokenizer() -> tuple[dict[str, Any], dict[str, Any], str]:
    """A byte-fallback BPE of printable characters and common pairs: tokenizer, its config, a template."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    characters = ["\u2581", "\n", *(sign for sign in string.printable if sign.isprintable() and sign != " ")]
    merges = [(pair[0], pair[1]) for pair in ("th", "he", "in", "er", "an", "re", "on", "at", "ou", "es")]
    pieces = [*_CONTROLS, *(f"<0x{byte:02X}>" for byte in range(256)), *characters, *map("".join, merges)]
    fast = Tokenizer(
        BPE(
            vocab={piece: index for index, piece in enumerate(pieces)},
            merges=merges,
            fuse_unk=True,
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    fast.normalizer = normalizers.Replace(" ", "\u2581")
    fast.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    fast.decoder = decoders.Sequence(steps)
    fast.add_special_tokens(list(_CONTROLS))
    settings = {
        "tokenizer_class": "GemmaTokenizer",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "extra_special_tokens": ["<start_of_turn>", "<end_of_turn>"],
        "add_bos_token": True,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",
    }
    return json.loads(fast.to_str()), settings, _TEMPLATE


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
