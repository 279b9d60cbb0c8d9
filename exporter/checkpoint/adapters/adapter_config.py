"""Strict reading of adapter_config.json: every key of PEFT's LoraConfig is used, known to change nothing, or refused.

The keys are those of PEFT 0.4 to 0.21 (peft/tuners/lora/config.py).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import CheckpointError, UnsupportedError, nearest
from ..hub import OWN_PROMPTS, WORDS_FILES

FILE = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
# What an export reads of an adapter's folder; the prompts, which it is proven with, and the words are optional.
FILES = (FILE, WEIGHTS, OWN_PROMPTS, *WORDS_FILES)
# How training went, and which modules, as the tensors' names say anyway: none of it changes what is merged.
_INERT = frozenset(
    (
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "target_modules",
    )
)
_TAKEN = frozenset(
    (
        "alpha_pattern",
        "bias",
        "ensure_weight_tying",
        "fan_in_fan_out",
        "init_lora_weights",
        "lora_alpha",
        "lora_bias",
        "modules_to_save",
        "peft_type",
        "r",
        "rank_pattern",
        "task_type",
        "use_dora",
        "use_rslora",
    )
)
_REFUSED = {
    "alora_invocation_tokens": "an activated LoRA works only after its invocation tokens, so it can't be merged",
    "arrow_config": "Arrow chooses between adapters while it runs, so it can't be merged",
    "kasa_config": "KaSA also changes the base model's own weights",
    "layer_replication": "it repeats layers, so the result is another architecture",
    "megatron_config": "it was trained on Megatron's fused layers, which the checkpoint doesn't have",
    "monteclora_config": "MonteCLoRA draws its weights while it runs, so it can't be merged",
    "target_parameters": "adapted parameters that aren't a layer's weight (experts) aren't supported yet",
    "trainable_token_indices": "single trained tokens aren't supported yet",
    "use_bdlora": "block-diagonal LoRA isn't supported yet",
    "use_qalora": "QA-LoRA adapts a quantized base model",
    "velora_config": "VeLoRA isn't supported yet",
}
# Their first update was subtracted from the base model's weights, which then differ from the checkpoint's.
_CHANGED_BASE = ("pissa", "corda", "olora", "lora_ga", "loftq")
PLAIN = "Merge it with PEFT itself (merge_and_unload, save_pretrained), and name the merged model as MODEL."
# These put something before the prompt or between the layers, which no weight of the model can hold.
_UNMERGEABLE = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CPT")
_RANKS = "rank_pattern"


@dataclass(frozen=True)
class AdapterConfig:
    """The part of adapter_config.json that decides how tensors are merged.

    Attributes:
        rank: The rank of a module that no pattern in ``ranks`` fits.
        alpha: The alpha of a module that no pattern in ``alphas`` fits.
        ranks: Regular expressions of module names and their own rank, in the file's order.
        alphas: Regular expressions of module names and their own alpha, in the file's order.
        rslora: Whether it is rsLoRA.
        dora: Whether it is DoRA.
        saved: The modules that were trained whole.
        tying: Whether PEFT kept embedding and head tied while training.
        base: What the file calls its base model; a note, nothing more.
    """

    rank: int
    alpha: float
    ranks: tuple[tuple[str, int], ...]
    alphas: tuple[tuple[str, float], ...]
    rslora: bool
    dora: bool
    saved: tuple[str, ...]
    tying: bool
    base: str

    @property
    def kind(self) -> str:
        """The method's usual name."""
        return f"{'rs' if self.rslora else ''}LoRA" if not self.dora else f"{'rs' if self.rslora else ''}DoRA"

    @property
    def base_name(self) -> str:
        """Its base model as a hub id, or the last part of a path: a bundle holds no path of anybody's machine."""
        return self.base if self.base.count("/") == 1 and not self.base.startswith((".", "/")) else Path(self.base).name

    def rank_of(self, module: str) -> int:
        """Return the rank of a module, by its name in the trained model; the first pattern that fits decides."""
        return next((rank for pattern, rank in self.ranks if _fits(pattern, module)), self.rank)

    def scale_of(self, module: str) -> float:
        """Return what B @ A is multiplied by: alpha / rank; for rsLoRA (Kalajdzievski, 2023) alpha / sqrt(rank)."""
        alpha = next((alpha for pattern, alpha in self.alphas if _fits(pattern, module)), self.alpha)
        rank = self.rank_of(module)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def read_config(folder: Path) -> AdapterConfig:
    """Read the adapter_config.json of a folder.

    Args:
        folder: The folder of a PEFT adapter.

    Raises:
        CheckpointError: It is missing, isn't a JSON object, or a value is of a wrong kind; the message names the key.
        UnsupportedError: It isn't LoRA, or has an option that can't be merged; the message names the key.
    """
    path = folder / FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {FILE}, so it is not a PEFT adapter", hint="name the folder that holds the adapter"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} can't be read: {error}", hint="fetch the file again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is not a JSON object", hint="fetch the file again")
    _refuse(path, found)
    return _config(path, found)


def _refuse(path: Path, found: Mapping[str, Any]) -> None:
    """Raises for what isn't LoRA, or can't be merged, or isn't known."""
    kind = found.get("peft_type")
    if not isinstance(kind, str):
        raise CheckpointError(f"{path} has no peft_type", hint="use the adapter's own adapter_config.json")
    if kind.upper() != "LORA":
        what_next = "This kind can't be merged." if kind.upper() in _UNMERGEABLE else PLAIN
        raise UnsupportedError(f"{path}: peft_type '{kind}' is not LoRA", hint=f"Only LORA is supported. {what_next}")
    task = found.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        raise UnsupportedError(
            f"{path}: task_type '{task}': it doesn't generate text", hint="Only CAUSAL_LM is supported."
        )
    start = found.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower().startswith(_CHANGED_BASE):
        raise UnsupportedError(
            f"{path}: init_lora_weights '{start}' changed the base model's weights when training began",
            hint="Save it as plain LoRA: PEFT's save_pretrained with path_initial_model_for_weight_conversion.",
        )
    for key, value in found.items():
        if key in _REFUSED and value not in (None, False, {}, []):
            raise UnsupportedError(f"{path}: {key}: {_REFUSED[key]}", hint=PLAIN)
        known = _INERT | _TAKEN | _REFUSED.keys()
        if key not in known and value not in (None, False, {}, []):  # a newer PEFT's option that is off does nothing
            raise UnsupportedError(f"{path}: unknown key '{key}' = {value!r}: {nearest(key, known)}", hint=PLAIN)


def _config(path: Path, found: Mapping[str, Any]) -> AdapterConfig:
    flags = ("use_rslora", "use_dora", "fan_in_fan_out", "ensure_weight_tying", "lora_bias")
    for key in flags:
        if found.get(key) not in (None, True, False):
            raise _wrong(path, key, found[key], "true or false")
    bias = found.get("bias", "none")
    if bias not in ("none", "all", "lora_only"):
        raise _wrong(path, "bias", bias, "none, all or lora_only")
    saved = found.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(name, str) for name in saved):
        raise _wrong(path, "modules_to_save", saved, "a list of module names")
    rank, alpha = found.get("r", 8), found.get("lora_alpha", 8)
    if not _is_rank(rank):
        raise _wrong(path, "r", rank, "a whole number from 1")
    if not _is_number(alpha):
        raise _wrong(path, "lora_alpha", alpha, "a number")
    # PEFT itself treats fan_in_fan_out as false if a layer is an nn.Linear, as all of them are here.
    return AdapterConfig(
        rank=rank,
        alpha=float(alpha),
        ranks=tuple(_patterns(path, found, _RANKS).items()),
        alphas=tuple((key, float(value)) for key, value in _patterns(path, found, "alpha_pattern").items()),
        rslora=bool(found.get("use_rslora")),
        dora=bool(found.get("use_dora")),
        saved=tuple(saved),
        tying=bool(found.get("ensure_weight_tying")),
        base=str(found.get("base_model_name_or_path") or ""),
    )


def _patterns(path: Path, found: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = found.get(key) or {}
    if not isinstance(table, dict):
        raise _wrong(path, key, table, "a table")
    good = _is_rank if key == _RANKS else _is_number
    for pattern, value in table.items():
        if not good(value):
            raise _wrong(path, f"{key}.{pattern}", value, "a whole number from 1" if key == _RANKS else "a number")
        try:
            re.compile(pattern)
        except re.error as error:
            raise CheckpointError(f"{path}: {key}: '{pattern}' is not a regular expression: {error}") from error
    return table


def _is_rank(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong(path: Path, key: str, value: Any, wanted: str) -> CheckpointError:
    message = f"{path}: {key} = {json.dumps(value)}: should be {wanted}"
    return CheckpointError(message, hint="use the adapter's own adapter_config.json")


def _fits(pattern: str, module: str) -> bool:
    """As PEFT matches rank_pattern and alpha_pattern: a name's end, from a dot on (utils/other.get_pattern_key)."""
    return re.match(rf"(.*\.)?({pattern})$", module) is not None
