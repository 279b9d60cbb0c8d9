"""From the float model to a ``.tflite``: convert once, then link the weights as a recipe stores them."""

from __future__ import annotations

import dataclasses
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ...quantize.recipe import Scheme, scheme_for
from ...quantize.stored_bytes import tensor_class
from ...util import result_cache as cachedir
from ...util.stage_clock import StageClock
from ..program import Artifacts, BuildSpec, Program
from . import attention
from .convert import convert
from .delegates import DELEGATES
from .link import link
from .options import DYNAMIC_SHAPE
from .signatures import make_signatures
from .version import require_exporter
from .weight_inputs import WeightTable

NAME = "litert"
PROGRAM = "model.tflite"
_KIND = "litert-skeletons"
_CODE = b"2"  # increased when a change of Gemcut's gives another skeleton for the same inputs
_CONVERTERS = ("litert-torch", "litert-converter")  # transformers' version is in the configuration


def build(spec: BuildSpec, model: Any, work: Path, clock: StageClock) -> Program:
    """Convert ``model``, or reuse the skeleton of an earlier export, and link its weights into it."""
    version = require_exporter()
    skeleton, out = work / "skeleton.tflite", work / PROGRAM
    with clock.stage("convert"):
        attention.register()
        model.config._attn_implementation = attention.NAME
        signatures, table = make_signatures(model.eval(), spec.cache, spec.shape.prefill, spec.options[DYNAMIC_SHAPE])
        key = _key(spec, model, version)
        if not cachedir.fetch(_KIND, key, skeleton):
            convert(signatures, skeleton, clock.progress)
            cachedir.keep(_KIND, key, skeleton)
    with clock.stage("quantize", recipe=spec.recipe.name):
        schemes = {weight.module: scheme_for(spec.recipe, weight.module) for weight in table.weights.values()}
        sizes = link(skeleton, out, table.weights, schemes, spec.weights, clock.progress)
    program = Program(
        runtime=NAME,
        runtime_version=version,
        artifacts=Artifacts.single(out),
        operators=(),  # see ``requirements.examine``
        delegates={DELEGATES.get(spec.delegates[0]).title: 0},  # counted by ``requirements.examine``
        vocab_size=int(spec.config.vocab_size),
        context=spec.shape.context,
        prefill_chunk=spec.shape.context if spec.options[DYNAMIC_SHAPE] else spec.shape.prefill[-1],
        facts={"cache_bytes": spec.cache.bytes, "skeleton": key[:16]},
    )
    return dataclasses.replace(program, **_classes(table, schemes, sizes))


def _key(spec: BuildSpec, model: Any, version: str) -> str:
    """A key of all that a skeleton depends on: not the matrices, which are not in it, nor the checkpoint's path."""
    small = [*model.named_parameters(), *model.named_buffers()]
    values = [f"{name} {tuple(t.shape)}".encode() + t.detach().contiguous().numpy().tobytes() for name, t in small]
    shape = f"{spec.cache} {spec.shape.prefill} {spec.options[DYNAMIC_SHAPE]}"
    config = json.loads(spec.config.to_json_string(use_diff=False)) | {"_name_or_path": ""}
    made_by = [version, torch.__version__, *map(metadata.version, _CONVERTERS)]
    texts = [*made_by, json.dumps(config, sort_keys=True), shape]
    return cachedir.key_of([_CODE, *(text.encode() for text in texts), *values])


def _classes(table: WeightTable, schemes: dict[str, Scheme], sizes: dict[str, int]) -> dict[str, Any]:
    """Bytes, number of quantized tables, and ways of storing by tensor class, as ``Program`` has them."""
    found: dict[str, int] = {}
    quantized: dict[str, int] = {}
    ways: dict[str, dict[str, int]] = {}
    for name, weight in table.weights.items():
        kind = tensor_class(weight.module, weight.gathered)
        found[kind] = found.get(kind, 0) + sizes[name]
        scheme = schemes[weight.module]
        quantized[kind] = quantized.get(kind, 0) + (scheme.weight != "float32")
        ways.setdefault(kind, {})
        ways[kind][str(scheme)] = ways[kind].get(str(scheme), 0) + 1
    return {"tensors": found, "quantized": quantized, "schemes": ways}
