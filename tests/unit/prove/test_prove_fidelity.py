import math

import numpy as np
import pytest
from gemcut.errors import ConformanceError
from gemcut.prove.behaviour import check_behaviour
from gemcut.prove.fidelity import Fidelity, FullFidelity, fidelity_top64, kl_buckets, kl_full
from gemcut.prove.gate import Verdict, judge
from gemcut.prove.golden import Recorded, log_softmax
from gemcut.prove.run import greedy, run_bundle
from gemcut.quantize.recipe import Gate

from tests.support.table_model import STOP, Floats, World

STRICT = Gate(
    mean_kl=0.01, p99_kl=0.1, top1=0.95, perplexity_ratio=1.05, max_logit_diff=1e-3, tool_calls=1.0, reason="Strict."
)


def _noisy(scale: float) -> object:
    def change(logits: Floats, ids: list[int]) -> Floats:
        return (logits + np.random.default_rng(len(ids)).normal(0, scale, len(logits))).astype(np.float32)

    return change


def _prove(world: World, change: object = None) -> tuple[tuple[Recorded, ...], Fidelity, Fidelity]:
    sink = FullFidelity(world.goldens, world.logits.open())
    recorded = run_bundle(world.runner(change), world.goldens, STOP, world.codec.decode, sink)  # type: ignore[arg-type]
    return recorded, sink.result(recorded), fidelity_top64(world.goldens, recorded)


def _verdict(world: World, change: object = None, gate: Gate = STRICT) -> Verdict:
    recorded, full, _ = _prove(world, change)
    return judge(gate, full, check_behaviour(world.goldens, recorded, world.codec, STOP))


def test_the_same_model_has_no_divergence_and_passes(world: World) -> None:
    recorded, full, top = _prove(world)
    assert full.form == "full-vocabulary"
    assert top.form == "top-64"
    assert full.mean_kl == full.max_logit_diff == full.worst[0].kl == 0
    assert top.mean_kl == pytest.approx(0, abs=1e-9)
    assert top.max_logit_diff is None
    for found in (full, top):
        assert found.top1 == 1
        assert found.perplexity_ratio == pytest.approx(1, abs=1e-6)
        assert found.positions == sum(g.positions for g in world.goldens)
    assert [r.greedy_ids for r in recorded] == [g.greedy_ids for g in world.goldens]
    verdict = _verdict(world)
    assert verdict.passed
    assert verdict.reasons() == ()


def test_kl_is_that_of_the_definition_and_the_buckets_are_below_it() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        p, q = (random.normal(0, 2, 300).astype(np.float32) for _ in range(2))
        probabilities = [np.exp(log_softmax(x)) for x in (p, q)]
        wanted = float(np.sum(probabilities[0] * np.log(probabilities[0] / probabilities[1])))
        assert kl_full(p, q) == pytest.approx(wanted, rel=1e-9)
        top = np.argsort(-p)[:64]
        lp, lq = (log_softmax(x)[top].astype(np.float32)[None] for x in (p, q))
        bound = kl_buckets(lp, lq)[0]
        assert 0 < bound <= wanted + 1e-6
        assert bound > wanted / 10  # A bound that says something.


def test_noise_everywhere_raises_every_figure_and_the_bound_stays_below(world: World) -> None:
    _, full, top = _prove(world, _noisy(0.5))
    assert 0.01 < top.mean_kl <= full.mean_kl
    assert full.p99_kl > full.mean_kl
    assert full.perplexity_ratio > 1
    assert full.max_logit_diff is not None
    assert full.max_logit_diff > 1
    failed = {v.figure for v in _verdict(world, _noisy(0.5)).violations}
    assert {"mean_kl", "max_logit_diff"} <= failed


def test_damage_at_one_position_is_found_and_named(world: World) -> None:
    golden = world.goldens[1]
    at = golden.first + 20

    def change(logits: Floats, ids: list[int]) -> Floats:
        return -logits if tuple(ids) == golden.ids[: at + 1] else logits

    _, full, top = _prove(world, change)
    for found in (full, top):
        assert (found.worst[0].prompt, found.worst[0].position) == (golden.prompt.id, at)
        assert sum(place.kl > 1e-6 for place in found.worst) == 1
    verdict = _verdict(world, change, Gate(max_logit_diff=1e-3, top1=1.0))
    assert [v.figure for v in verdict.violations] == ["top1", "max_logit_diff"]
    for violation in verdict.violations:
        assert (violation.prompt, violation.position) == (golden.prompt.id, at)
        assert f"prompt '{golden.prompt.id}', position {at}" in str(violation)
    assert verdict.rows()[0].prompt == golden.prompt.id
    assert verdict.rows()[0].position == at
    assert verdict.rows()[0].failed == "top1, max_logit_diff"
    assert len(verdict.rows()) == len(world.goldens)


def test_only_the_limits_that_are_set_hold(world: World) -> None:
    assert _verdict(world, _noisy(0.05), Gate()).passed
    assert [v.figure for v in _verdict(world, _noisy(0.05), Gate(mean_kl=1e-9)).violations] == ["mean_kl"]


def test_a_limit_that_this_form_cannot_measure_is_said(world: World) -> None:
    recorded, _, top = _prove(world)
    verdict = judge(STRICT, top, check_behaviour(world.goldens, recorded, world.codec, STOP))
    assert verdict.passed
    assert verdict.unmeasured == ("max_logit_diff",)


def test_logits_that_are_not_numbers_fail_whatever_the_limits(world: World) -> None:
    for value in (np.nan, np.inf):
        verdict = _verdict(world, lambda logits, ids, v=value: np.full_like(logits, v), Gate())
        assert not verdict.passed
        assert verdict.fidelity.mean_kl == math.inf
        assert "finite" in {v.figure for v in verdict.violations}


def test_a_program_of_another_vocabulary_is_refused(world: World) -> None:
    with pytest.raises(ConformanceError, match="vocabulary"):
        _prove(world, lambda logits, ids: np.append(logits, np.float32(-50)))
    with pytest.raises(ConformanceError, match="goldens name token"):
        run_bundle(world.runner(lambda x, ids: x[:5]), world.goldens, STOP, world.codec.decode)
    small = world.runner()
    small.max_context = 20
    with pytest.raises(ConformanceError, match="cache holds only 20"):
        run_bundle(small, world.goldens, STOP, world.codec.decode)


def test_outputs_of_other_goldens_are_refused(world: World) -> None:
    recorded, _, _ = _prove(world)
    with pytest.raises(ConformanceError, match="don't belong to these goldens"):
        fidelity_top64(world.goldens, recorded[:-1])


def test_rows_that_were_never_run_are_not_taken_for_good(world: World) -> None:
    recorded, _, _ = _prove(world)
    with pytest.raises(ValueError, match="not every scored position"):
        FullFidelity(world.goldens, world.logits.open()).result(recorded)


def test_greedy_stops_at_the_stop_or_the_limit(world: World) -> None:
    golden = world.goldens[1]
    assert tuple(greedy(world.runner(), golden.prompt_ids, 100, frozenset(STOP))) == golden.greedy_ids
    assert tuple(greedy(world.runner(), golden.prompt_ids, 2, frozenset(STOP))) == golden.greedy_ids[:2]
    assert greedy(world.runner(), golden.prompt_ids, 0, frozenset(STOP)) == []
