"""What goes into a bundle beside its program, and what its manifest says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .. import __version__
from ..bundle.card import license_text, model_card, notice
from ..bundle.manifest import (
    AdapterRecord,
    GateRecord,
    LicenceRecord,
    Manifest,
    RecipeRecord,
    RuleRecord,
    RuntimeRecord,
    SourceRecord,
    TensorRecord,
)
from ..bundle.staging import Staging
from ..prompt.codec import ChatCodec, load_codec
from ..quantize.recipe import Gate
from ..runtimes.base import Lowered
from ..util.packages import public_version

if TYPE_CHECKING:
    from ..checkpoint.records import Checkpoint
    from .plan import ExportPlan

# As they are, where the checkpoint has them; the tokenizer and the template in use are written apart.
_CARRIED = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "config.json")
_LIMITS = ("mean_kl", "p99_kl", "top1", "perplexity_ratio", "max_logit_diff", "tool_calls")


def add_tokenizer(staging: Staging, checkpoint: Checkpoint) -> ChatCodec:
    """Puts tokenizer, template and generation config into the bundle; returns the codec read from there."""
    for name in _CARRIED:
        if (checkpoint.path / name).is_file():
            staging.add(name, checkpoint.path / name)
    staging.add("tokenizer.json", checkpoint.tokenizer.backend_tokenizer.to_str().encode())
    generation = {**checkpoint.generation, "eos_token_id": list(checkpoint.stop_ids)}
    if checkpoint.bos_id is not None:
        generation["bos_token_id"] = checkpoint.bos_id
    staging.add("generation_config.json", (json.dumps(generation, indent=2, sort_keys=True) + "\n").encode())
    if checkpoint.chat_template is not None:
        staging.add("chat_template.jinja", checkpoint.chat_template.encode())
    return load_codec(
        staging.folder / "tokenizer.json", checkpoint.chat_template, special_tokens(checkpoint), checkpoint.bos_id
    )


def special_tokens(checkpoint: Checkpoint) -> dict[str, str]:
    """What the chat template may use by name: ``bos_token`` and so on."""
    named = checkpoint.tokenizer.special_tokens_map
    return {name: str(token) for name, token in sorted(named.items()) if isinstance(token, str)}


def add_papers(staging: Staging, checkpoint: Checkpoint, manifest: Manifest) -> None:
    """Puts licence, notice and model card into the bundle."""
    staging.add("LICENSE", license_text(manifest, checkpoint.licence.text).encode())
    staging.add("NOTICE", notice(manifest).encode())
    staging.add("README.md", model_card(manifest).encode())


def first_manifest(plan: ExportPlan, lowered: Lowered, codec: ChatCodec, parameters: int) -> Manifest:
    """The manifest before the proof: everything but figures and verdict."""
    checkpoint = plan.checkpoint
    bos = checkpoint.tokenizer.bos_token
    return Manifest(
        model=SourceRecord(
            name=checkpoint.name,
            source=checkpoint.source if checkpoint.revision else checkpoint.path.name,
            revision=checkpoint.revision,
            model_type=checkpoint.text_config.model_type,
            parameters=parameters,
            files=checkpoint.hashes,
            adapter=adapter_record(checkpoint),
        ),
        target=plan.target.name,
        runtime=RuntimeRecord(
            name=lowered.runtime,
            version=lowered.runtime_version,
            oldest=plan.target.oldest_runtime.get(lowered.runtime),
        ),
        exporter=__version__,
        libraries={name: public_version(name) for name in plan.runtime.libraries},
        recipe=_recipe(plan),
        program=plan.runtime.program_name,
        context=lowered.context,
        prefill_chunk=lowered.prefill_chunk,
        vocab_size=lowered.vocab_size,
        operators=lowered.operators,
        kernels=lowered.kernels,
        delegates=lowered.delegates,
        delegate_coverage=lowered.delegated_macs,
        tensors={
            name: TensorRecord(
                quantized=lowered.quantized.get(name, 0), bytes=size, schemes=lowered.schemes.get(name, {})
            )
            for name, size in sorted(lowered.tensors.items())
        },
        gate=GateRecord(limits=limits(plan.recipe.gate), reason=plan.recipe.gate.reason),
        stop_ids=checkpoint.stop_ids,
        bos_id=checkpoint.bos_id,
        special_tokens=special_tokens(checkpoint),
        template_bos=bool(bos) and _starts_with(codec, str(bos)),
        licence=LicenceRecord(id=checkpoint.licence.id, name=checkpoint.licence.name),
        notes=checkpoint.notes,
    )


def adapter_record(checkpoint: Checkpoint) -> AdapterRecord | None:
    """What the manifest says of the adapter that was merged in."""
    adapter = checkpoint.adapter
    if adapter is None:
        return None
    return AdapterRecord(
        name=adapter.name, kind=adapter.config.kind, base=adapter.config.base_name, files=adapter.hashes
    )


def limits(gate: Gate) -> dict[str, float]:
    """The gate's limits by figure."""
    return {name: value for name in _LIMITS if (value := getattr(gate, name)) is not None}


def gate_of(record: GateRecord) -> Gate:
    """The gate that a manifest holds."""
    return Gate(**record.limits, reason=record.reason)


def _starts_with(codec: ChatCodec, bos: str) -> bool:
    if not codec.has_template:
        return False
    return codec.render([{"role": "user", "content": "Hi"}], None, True).startswith(bos)


def _recipe(plan: ExportPlan) -> RecipeRecord:
    rules = tuple(
        RuleRecord(
            match=rule.match,
            scheme=rule.scheme.name,
            weight=rule.scheme.weight,
            group=rule.scheme.group,
            activation=rule.scheme.activation,
            reason=rule.reason,
        )
        for rule in plan.recipe.rules
    )
    return RecipeRecord(name=plan.recipe.name, description=plan.recipe.description, rules=rules)
