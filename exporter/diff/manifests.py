"""Comparison of two manifests: model, target, runtime, recipe and operators, and whether a change matters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from .document import Change, Names, Pair, RuleChange, Severity, same, shown

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest, RuleRecord

_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth")
COVERAGE = 0.01  # of the multiply-accumulates; one fused operator more or less makes up less than that
_WORDS = {"README.md", "LICENSE", "NOTICE", "USE_POLICY.md"}


def pairs_of(prefix: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Pair]:
    """Return the entries of two mappings that differ, named ``prefix.key``."""
    names = (name for name in sorted({*a, *b}) if a.get(name) != b.get(name))
    return [Pair(f"{prefix}.{name}", shown(a.get(name)), shown(b.get(name))) for name in names]


def pair(name: str, a: Any, b: Any) -> list[Pair]:
    """Return one setting, if it differs."""
    return [] if a == b else [Pair(name, shown(a), shown(b))]


def arrow(pairs: Iterable[Pair]) -> str:
    """Return what changed, in one line: ``runtime.version 1.4 -> 1.5``."""
    return "; ".join(f"{one.name} {_short(one.a)} -> {_short(one.b)}" for one in pairs)


def _short(text: str | None) -> str:
    if text is None:
        return "none"
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:12]
    return text if len(text) <= 60 else text[:57] + "..."


def _judged(area: str, pairs: Sequence[Pair], severity: Severity, reason: str) -> Change:
    return Change(area, severity, arrow(pairs), reason) if pairs else same(area)


def settings(a: Manifest, b: Manifest) -> tuple[tuple[Pair, ...], tuple[Change, ...]]:
    """Return all settings that differ, and the verdict on each of their areas."""
    both = [_model(a, b), _licence(a, b), _target(a, b), _runtime(a, b)]
    exporter = pair("exporter", a.exporter, b.exporter)
    both.append((exporter, _judged("exporter", exporter, "harmless", "a version is judged by what it makes")))
    libraries = pairs_of("libraries", a.libraries, b.libraries)
    both.append((libraries, _judged("libraries", libraries, "harmless", "versions are judged by what they make")))
    both += [_delegates(a, b), _context(a, b), _stop(a, b), _special(a, b), _proof(a, b)]
    return tuple(one for pairs, _ in both for one in pairs), tuple(change for _, change in both)


def _model(a: Manifest, b: Manifest) -> tuple[list[Pair], Change]:
    first, second = a.model, b.model
    named = [
        *pair("model.name", first.name, second.name),
        *pair("model.source", first.source, second.source),
        *pair("model.revision", first.revision, second.revision),
    ]
    kind = [
        *pair("model.type", first.model_type, second.model_type),
        *pair("model.parameters", first.parameters, second.parameters),
    ]
    files = pairs_of("model.files", first.files, second.files)
    adapters = [m.adapter for m in (first, second)]
    named += pair("model.adapter", *(one.name if one else None for one in adapters))
    kind += pair("model.adapter.kind", *(one.kind if one else None for one in adapters))
    files += pairs_of("model.adapter.files", *(one.files if one else {} for one in adapters))
    pairs = [*named, *kind, *files]
    if other_weights(a, b):
        return pairs, Change("model", "matters", arrow(pairs), "other weights make another model")
    read = [one for one in files if one.name.partition(".files.")[2] not in _WORDS]
    if read:
        reason = "the weights are the same files; what the changed files do is judged below"
        return pairs, Change("model", "harmless", arrow(pairs), reason)
    return pairs, _judged("model", pairs, "harmless", "the weights are the same files")


def other_weights(a: Manifest, b: Manifest) -> bool:
    """Return whether the two were made from different float models: other weights, adapter, or kind of model."""

    def made_of(manifest: Manifest) -> tuple[object, ...]:
        model, adapter = manifest.model, manifest.model.adapter
        files = {**model.files, **{f"adapter/{k}": v for k, v in (adapter.files if adapter else {}).items()}}
        weights = sorted(digest for name, digest in files.items() if name.endswith(_WEIGHTS))
        return model.model_type, model.parameters, adapter.kind if adapter else None, weights

    return made_of(a) != made_of(b)


def _licence(a: Manifest, b: Manifest) -> tuple[list[Pair], Change]:
    terms = pair("licence.id", a.licence.id, b.licence.id)
    text = [*_file_pair("LICENSE", a, b)]
    named = pair("licence.name", a.licence.name, b.licence.name)
    pairs = [*terms, *named, *text]
    if terms or text:
        return pairs, Change("licence", "matters", arrow(pairs), "somebody has to read the new terms")
    return pairs, _judged("licence", pairs, "harmless", "the same licence under another name")


def _file_pair(name: str, a: Manifest, b: Manifest) -> list[Pair]:
    hashes = [m.files[name].sha256 if name in m.files else None for m in (a, b)]
    return pair(name, *hashes)


def _target(a: Manifest, b: Manifest) -> tuple[list[Pair], Change]:
    pairs = pair("target", a.target, b.target)
    return pairs, _judged("target", pairs, "matters", "it is made for other devices")


def _runtime(a: Manifest, b: Manifest) -> tuple[list[Pair], Change]:
    pairs = [
        *pair("runtime.name", a.runtime.name, b.runtime.name),
        *pair("runtime.version", a.runtime.version, b.runtime.version),
        *pair("runtime.oldest", a.runtime.oldest, b.runtime.oldest),
    ]
    if a.runtime.name != b.runtime.name:
        return pairs, Change("runtime", "matters", arrow(pairs), "an app needs another runtime to load it")
    if _later(a.runtime.oldest, b.runtime.oldest):
        return pairs, Change("runtime", "matters", arrow(pairs), "apps with an older runtime can no longer load it")
    return pairs, _judged("runtime", pairs, "harmless", "it needs no later version of the runtime than before")


def _later(a: str | None, b: str | None) -> bool:
    """Return whether b needs a later version than a; one that doesn't say may need any."""
    from packaging.version import InvalidVersion, Version

    if a == b or a is None:
        return False  # If a promised nothing, b can't promise less.
    try:
        return b is None or Version(b) > Version(a)
    except InvalidVersion:
        return True


def _delegates(a: Manifest, b: Manifest) -> tuple[list[Pair], Change]:
    pairs = pairs_of("delegates", a.delegates, b.delegates)
    share = [f"{m.delegate_coverage:.1%}" for m in (a, b)]
    if a.delegate_coverage != b.delegate_coverage:
        pairs.append(Pair("delegate_coverage", *share))
    new = sorted(set(b.delegates) - set(a.delegates))
    if new and a.runtime.name == b.runtime.name:  # Another runtime's names can't be compared.
        reason = f"the app's library must have {', '.join(new)}"
        return pairs, Change("delegates", "matters", arrow(pairs), reason)
    if b.delegate_coverage < a.delegate_coverage - COVERAGE:
        return pairs, Change(
            "delegates", "matters", arrow(pairs), "more of the work is outside delegates, so it is slower"
        )
    return pairs, _judged("delegates", pairs, "harmless", "the share of the work in delegates is no smaller")


def _context(a: Manifest, b: Manifest) -> tuple[list[Pair], Change]:
    pairs = [
        *pair("context", a.context, b.context),
        *pair("prefill_chunk", a.prefill_chunk, b.prefill_chunk),
        *pair("vocab_size", a.vocab_size, b.vocab_size),
    ]
    reasons = []
    if b.context != a.context:
        shorter = b.context < a.context
        reasons.append("chats must be shorter" if shorter else "the cache takes more memory")
    if b.prefill_chunk != a.prefill_chunk:
        reasons.append("prompts are fed in chunks of another length")
    if b.vocab_size != a.vocab_size:
        reasons.append("the program has another number of logits")
    return pairs, _judged("context", pairs, "matters", "; ".join(reasons))


def _stop(a: Manifest, b: Manifest) -> tuple[list[Pair], Change]:
    pairs = pair("stop_ids", _ids(a.stop_ids), _ids(b.stop_ids))
    lost = sorted(set(a.stop_ids) - set(b.stop_ids))
    reason = f"replies no longer end at {_ids(lost)}" if lost else "replies now end at more tokens"
    if set(a.stop_ids) == set(b.stop_ids):
        return pairs, _judged("stop", pairs, "harmless", "the same ids in another order")
    return pairs, _judged("stop", pairs, "matters", reason)


def _ids(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids)) or "none"


def _special(a: Manifest, b: Manifest) -> tuple[list[Pair], Change]:
    bos = [*pair("bos_id", a.bos_id, b.bos_id), *pair("template_bos", a.template_bos, b.template_bos)]
    pairs = [*pairs_of("special_tokens", a.special_tokens, b.special_tokens), *bos]
    reason = "a runner that adds the BOS itself may now add one too many, or none" if bos else "templates write them"
    return pairs, _judged("special_tokens", pairs, "matters", reason)


def _proof(a: Manifest, b: Manifest) -> tuple[list[Pair], Change]:
    rates = [m.behaviour.rates if m.behaviour else {} for m in (a, b)]
    behaviour, gate = pairs_of("behaviour", *rates), pairs_of("gate", a.gate.limits, b.gate.limits)
    devices = [
        {
            one.device: f"{one.max_logprob_diff:.3g} nats off" if one.max_logprob_diff is not None else "run"
            for one in m.devices
        }
        for m in (a, b)
    ]
    places = pairs_of("proven on", *devices)
    pairs = [*pair("proven", a.proven, b.proven), *behaviour, *gate, *places]
    reasons = []
    if a.proven and not b.proven:
        reasons.append("it failed its gate: don't ship it")
    fell = [name for name, rate in rates[0].items() if name in rates[1] and _below(rates[1][name], rate)]
    if fell:
        reasons.append(f"{', '.join(name.replace('_', ' ') for name in fell)} held on fewer prompts")
    if looser := _looser(a.gate.limits, b.gate.limits):
        reasons.append(f"its gate is looser: {', '.join(looser)}")
    if lost := sorted(set(devices[0]) - set(devices[1])):
        reasons.append(f"it is no longer proven on {', '.join(lost)}")
    if reasons:
        return pairs, Change("proof", "matters", arrow(pairs), "; ".join(reasons))
    return pairs, _judged("proof", pairs, "harmless", "it is proven at least as well")


def _below(value: float | None, than: float | None) -> bool:
    return than is not None and (value is None or value < than)


def _looser(a: Mapping[str, float], b: Mapping[str, float]) -> list[str]:
    """Return limits that allow more than before, or that are gone; if others replaced them, neither gate is looser."""
    from ..words.grades import AT_LEAST

    found = [name for name, limit in a.items() if name in b and (limit - b[name]) * (1 if name in AT_LEAST else -1) > 0]
    return found if set(b) - set(a) else [*found, *(name for name in a if name not in b)]


def compare_names(a: Sequence[str], b: Sequence[str]) -> Names:
    """Return what only one of the two lists has."""
    return Names(tuple(sorted(set(b) - set(a))), tuple(sorted(set(a) - set(b))))


def judge_names(area: str, names: Names) -> Change:
    """Return the verdict: new names matter, as the app's library must have them; names that are gone don't."""
    parts = []
    for title, some in (("new", names.added), ("gone", names.removed)):
        if some:
            parts.append(f"{title}: {', '.join(some[:6])}{f' and {len(some) - 6} more' if len(some) > 6 else ''}")
    if names.added:
        return Change(area, "matters", "; ".join(parts), "a library that lacks one can't load it; run gemcut check")
    return Change(area, "harmless", "; ".join(parts), "the program needs less") if parts else same(area)


def _rule_text(rule: RuleRecord) -> str:
    group = f" in groups of {rule.group}" if rule.group else ""
    return f"{rule.scheme}: {rule.weight}{group}, activations {rule.activation}"


def _by_pattern(manifest: Manifest) -> dict[str, tuple[int, RuleRecord]]:
    """Return the rules and their places; a rule with the pattern of an earlier one decides nothing."""
    found: dict[str, tuple[int, RuleRecord]] = {}
    for place, rule in enumerate(manifest.recipe.rules, 1):
        found.setdefault(rule.match, (place, rule))
    return found


def compare_rules(a: Manifest, b: Manifest) -> tuple[RuleChange, ...]:
    """Return the rules that are new, gone, changed or moved; a rule is identified by its pattern."""
    first, second = _by_pattern(a), _by_pattern(b)
    shared_a, shared_b = [k for k in first if k in second], [k for k in second if k in first]
    kept = {
        key
        for block in SequenceMatcher(None, shared_a, shared_b, autojunk=False).get_matching_blocks()
        for key in shared_a[block.a : block.a + block.size]
    }
    found = []
    for key in dict.fromkeys((*first, *second)):
        place_a, rule_a = first.get(key, (None, None))
        place_b, rule_b = second.get(key, (None, None))
        text_a, text_b = (_rule_text(rule) if rule else None for rule in (rule_a, rule_b))
        if rule_a is None:
            found.append(RuleChange("added", key, None, place_b, None, text_b))
        elif rule_b is None:
            found.append(RuleChange("removed", key, place_a, None, text_a, None))
        elif text_a != text_b:
            found.append(RuleChange("changed", key, place_a, place_b, text_a, text_b))
        if key in first and key in second and key not in kept:
            found.append(RuleChange("moved", key, place_a, place_b, text_a, text_b))
    return tuple(found)


def judge_rules(a: Manifest, b: Manifest, changes: Sequence[RuleChange]) -> Change:
    """Return the verdict: any rule matters; the recipe's name and its reasons don't."""
    if changes:
        parts = []
        for one in changes:
            arrowed = f" {one.a} -> {one.b}" if one.kind == "changed" else ""
            parts.append(f"{one.kind} {one.match}{arrowed}")
        return Change("recipe", "matters", "; ".join(parts), "the first rule that fits decides how a weight is rounded")
    pairs = pair("recipe.name", a.recipe.name, b.recipe.name)
    if pairs or a.recipe != b.recipe:
        return Change("recipe", "harmless", arrow(pairs) or "its texts", "the rules are the same")
    return same("recipe")
