"""From the float model to a ``.tflite``: convert once, then link the weights as a recipe has them."""

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
from ...util.stage_clock import Clock
from ..base import Lowered, Order
from . import attention
from .convert import convert
from .link import link
from .program import make_signatures
from .version import require_exporter
from .weight_inputs import WeightTable

PROGRAM = "model.tflite"
_KIND = "litert-skeletons"
_CODE = b"2"  # counted up when a change of ours gives another skeleton for the same inputs
_CONVERTERS = ("litert-torch", "litert-converter")  # transformers' version is in the configuration


def build(order: Order, model: Any, work: Path, clock: Clock) -> Lowered:
    """Converts ``model``, or takes the skeleton that a former export converted, and links its weights into it."""
    version = require_exporter()
    skeleton, out = work / "skeleton.tflite", work / PROGRAM
    with clock.stage("convert", "Converting for LiteRT"):
        attention.register()
        model.config._attn_implementation = attention.NAME
        signatures, table = make_signatures(model.eval(), order.cache, order.shape.prefill, order.shape.dynamic)
        key = _key(order, model, version)
        if not cachedir.fetch(_KIND, key, skeleton):
            convert(signatures, skeleton, clock.progress)
            cachedir.keep(_KIND, key, skeleton)
    with clock.stage("quantize", f"Quantizing: {order.recipe.name}"):
        schemes = {weight.module: scheme_for(order.recipe, weight.module) for weight in table.weights.values()}
        sizes = link(skeleton, out, table.weights, schemes, clock.progress)
    lowered = Lowered(
        runtime="litert",
        runtime_version=version,
        program=out,
        operators=(),  # see ``requirements.examine``
        delegates={},
        vocab_size=int(order.config.vocab_size),
        context=order.shape.context,
        prefill_chunk=order.shape.context if order.shape.dynamic else order.shape.prefill[-1],
        facts={"cache_bytes": order.cache.bytes, "skeleton": key[:16]},
    )
    return dataclasses.replace(lowered, **_classes(table, schemes, sizes))


def _key(order: Order, model: Any, version: str) -> str:
    """What a skeleton depends on: all but the matrices, which aren't in it, and where the checkpoint lies."""
    small = [*model.named_parameters(), *model.named_buffers()]
    values = [f"{name} {tuple(t.shape)}".encode() + t.detach().contiguous().numpy().tobytes() for name, t in small]
    shape = f"{order.cache} {order.shape.prefill} {order.shape.dynamic}"
    config = json.loads(order.config.to_json_string(use_diff=False)) | {"_name_or_path": ""}
    made_by = [version, torch.__version__, *map(metadata.version, _CONVERTERS)]
    texts = [*made_by, json.dumps(config, sort_keys=True), shape]
    return cachedir.key_of([_CODE, *(text.encode() for text in texts), *values])


def _classes(table: WeightTable, schemes: dict[str, Scheme], sizes: dict[str, int]) -> dict[str, Any]:
    """Bytes, number of quantized tables, and ways of storing by tensor class, as ``Lowered`` has them."""
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
