"""A tiny model, calibrated: what is observed, what is chosen, and that it is better than plain rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gemcut.calibrate.calibrator import Calibration, needs_calibration, widest_input
from gemcut.calibrate.statistics import InputStatistics
from gemcut.quantize.methods import METHODS, method_of
from gemcut.quantize.methods.scale_search import dequantized, rounded, searched_scales
from gemcut.quantize.recipe import Recipe, Scheme, load_recipe, scheme_for
from gemcut.util.file_tensors import InMemory
from gemcut.util.progress import Silent

from tests.support.checkpoints import gemma3_two_layers

INT4 = Scheme("linear", "int4", 32, "int8-dynamic", "gptq")
INT8 = Scheme("fine", "int8", 0, "int8-dynamic")


def correlated(rows: int, columns: int) -> torch.Tensor:
    """Inputs as layers have them: a few loud channels, and all of them mixed."""
    generator = torch.Generator().manual_seed(5)
    loud = torch.ones(columns)
    loud[::9] = 12.0
    mixing = torch.eye(columns) + 0.2 * torch.randn(columns, columns, generator=generator)
    return (torch.randn(rows, columns, generator=generator) @ mixing) * loud


def output_error(weight: torch.Tensor, inputs: torch.Tensor, values: Any, scales: Any) -> float:
    return float((inputs @ (dequantized(values, scales) - weight).t()).square().mean())


def test_gptq_is_better_than_weighted_rounding_and_that_than_plain() -> None:
    inputs = correlated(2000, 96)
    weight = torch.randn(40, 96, generator=torch.Generator().manual_seed(6))
    statistics = InputStatistics.of(96)
    for part in torch.split(inputs, 300):
        statistics.add(part)
    assert torch.allclose(statistics.importance, inputs.square().mean(0), rtol=1e-4)
    errors = {}
    for name in ("round-to-nearest", "weighted-rounding", "gptq"):
        values, scales = METHODS.get(name).quantize(weight, INT4, statistics)
        assert values.dtype == torch.int8
        assert (int(values.min()) >= -8, int(values.max()) <= 7) == (True, True)
        assert scales.shape == (40, 3)
        assert torch.equal(scales, scales.to(torch.bfloat16).float()), "as XNNPACK stores them"
        errors[name] = output_error(weight, inputs, values, scales)
    assert errors["gptq"] < 0.8 * errors["weighted-rounding"] < 0.8 * errors["round-to-nearest"]


def test_without_hessians_what_rounding_costs_is_known_from_the_mean_squares() -> None:
    inputs = correlated(2000, 96)
    weight = torch.randn(40, 96, generator=torch.Generator().manual_seed(6))
    whole, quick = InputStatistics.of(96), InputStatistics.of(96, whole=False)
    for statistics in (whole, quick):
        for part in torch.split(inputs, 300):
            statistics.add(part)
    assert torch.allclose(whole.importance, quick.importance, rtol=1e-5)
    scale = torch.rand(96) + 0.5
    for statistics in (whole, quick):
        divided = statistics.copy()
        divided.divide(scale)
        assert torch.allclose(divided.importance, statistics.importance / scale.square(), rtol=1e-4)
    one = torch.zeros(1, 96)
    one[0, 7] = 2.0  # of one input alone, the diagonal is all there is to know
    assert quick.energy(one) == pytest.approx(whole.energy(one), rel=1e-4)
    assert whole.energy(weight) == pytest.approx(float((inputs @ weight.t()).square().sum()), rel=1e-3)
    rounding = METHODS.get("weighted-rounding")
    assert torch.equal(rounding.quantize(weight, INT4, quick)[0], rounding.quantize(weight, INT4, whole)[0])


@pytest.mark.parametrize("columns", [7, 96, 1100])
def test_the_factor_is_that_of_the_damped_inverse(columns: int) -> None:
    statistics = InputStatistics.of(columns)
    statistics.add(correlated(3 * columns, columns))
    damped = statistics.hessian.double()
    damped.diagonal().add_(0.05 * damped.diagonal().mean())
    factor = statistics.factor(0.05)
    assert torch.equal(factor, factor.triu())
    assert torch.allclose(factor.double().t() @ factor.double() @ damped, torch.eye(columns).double(), atol=2e-3)


def test_a_weight_on_the_lattice_is_kept_as_it_is() -> None:
    integers = torch.randint(-7, 8, (20, 64), generator=torch.Generator().manual_seed(2))
    integers[:, ::32] = 7  # so that each group's largest value is on its last step
    weight = integers * 0.03125
    scales = searched_scales(weight, "int4", 32)
    assert torch.equal(rounded(weight, scales, "int4").long(), integers)


def test_without_observations_a_method_that_needs_them_is_not_asked() -> None:
    assert method_of(INT4).name == "round-to-nearest"
    assert method_of(INT8).name == "round-to-nearest"


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import AutoModelForCausalLM

    config = gemma3_two_layers(vocab_size=400)
    torch.manual_seed(1)
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "proj" in name:
                parameter.mul_(6)
            if parameter.dim() == 1:
                parameter.add_(torch.rand_like(parameter) ** 4 * 8)  # loud channels
    return made


def segments() -> list[list[int]]:
    generator = torch.Generator().manual_seed(9)
    return torch.randint(0, 400, (16, 64), generator=generator).tolist()


def calibrated(model: Any, recipe: Recipe) -> tuple[Any, dict[str, Any]]:
    from gemcut.calibrate.simulation import copy_of

    own = copy_of(model)
    return own, Calibration(own, recipe, InMemory(), Silent()).run(segments())


@torch.no_grad()
def logits_of(model: Any, recipe: Recipe, made: dict[str, Any]) -> torch.Tensor:
    """Of the model with its weights rounded as the recipe says, or as calibration has chosen."""
    import copy

    shown = copy.deepcopy(model)
    for name, module in shown.named_modules():
        if not isinstance(module, torch.nn.Linear) or scheme_for(recipe, name).weight == "float32":
            continue
        scheme = scheme_for(recipe, name)
        stored = made.get(name)
        pair = (stored.values, stored.scales) if stored else method_of(scheme).quantize(module.weight, scheme)
        module.weight = torch.nn.Parameter(dequantized(*pair), requires_grad=False)
    ids = torch.randint(0, 400, (4, 48), generator=torch.Generator().manual_seed(4))
    found: torch.Tensor = torch.log_softmax(shown(input_ids=ids, use_cache=False).logits, -1)
    return found


def mean_kl(expected: torch.Tensor, found: torch.Tensor) -> float:
    return float((expected.exp() * (expected - found)).sum(-1).mean())


def test_int4_is_nearer_to_the_float_model_than_plain_rounding_is(model: Any) -> None:
    recipe, plain = load_recipe("int4"), load_recipe("int4").uncalibrated()
    expected = logits_of(model, load_recipe("float32"), {})
    own, made = calibrated(model, recipe)
    error = mean_kl(expected, logits_of(own, recipe, made))
    assert error < 0.7 * mean_kl(expected, logits_of(model, plain, {}))
    linears = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    gptq = {name for name in linears if scheme_for(recipe, name).method == "gptq"}
    assert gptq <= set(made) <= linears - {"lm_head"}


def test_the_float_model_stays_as_it_was(model: Any) -> None:
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    own, _ = calibrated(model, load_recipe("int4"))
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    folded = [name for name, p in own.named_parameters() if not torch.equal(p, before[name])]
    assert any("layernorm" in name for name in folded)


def test_calibration_is_the_same_every_time(model: Any) -> None:
    from gemcut.pipeline.calibration import weights_hash

    recipe = load_recipe("int4")
    assert weights_hash(calibrated(model, recipe)[1]) == weights_hash(calibrated(model, recipe)[1])


def test_a_tied_head_that_is_calibrated_is_the_embedding_too(model: Any) -> None:
    from dataclasses import replace

    recipe = load_recipe("int4")
    rules = tuple(
        replace(rule, scheme=INT4) if "embed" in rule.match or rule.match == "lm_head" else rule
        for rule in recipe.rules
    )
    _, made = calibrated(model, replace(recipe, rules=rules))
    assert made["model.embed_tokens"] is made["lm_head"]


def test_which_recipes_need_it(model: Any) -> None:
    needed = {name: needs_calibration(load_recipe(name)) for name in ("float32", "int8", "int4", "balanced")}
    assert needed == {"float32": False, "int8": True, "int4": True, "balanced": True}
    assert widest_input(model) == 96


def test_layers_are_found_under_another_name() -> None:
    from gemcut.calibrate.calibrator import decoder_layers
    from transformers import AutoModelForCausalLM, GPT2Config

    made = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=50, n_embd=16, n_layer=3, n_head=2))
    assert decoder_layers(made) is made.transformer.h


def test_a_text_for_a_recipe_that_needs_none_is_refused(tmp_path: Any) -> None:
    from gemcut.errors import UsageError
    from gemcut.pipeline.calibration import chosen_text

    with pytest.raises(UsageError, match="'float32' needs no calibration"):
        chosen_text(load_recipe("float32"), str(tmp_path / "mine.txt"))
    assert chosen_text(load_recipe("float32"), None) is None
    assert chosen_text(load_recipe("int4"), None) is not None


def test_a_recipe_that_is_far_over_its_limit_is_refused_before_anything_is_built(model: Any) -> None:
    from dataclasses import replace

    from gemcut.pipeline.calibration import MARGIN, _check
    from gemcut.pipeline.failures import TooSensitive
    from gemcut.quantize.recipe import Gate

    recipe = load_recipe("int4")
    own, made = calibrated(model, recipe)
    with pytest.raises(TooSensitive, match="costs this model") as caught:
        _check(model, own, replace(recipe, gate=Gate(mean_kl=1e-6)), made, segments()[:5])
    nats = caught.value.nats
    for limit in (1.01 * nats / MARGIN, None):
        _check(model, own, replace(recipe, gate=Gate(mean_kl=limit)), made, segments()[:5])


def test_a_simulated_model_is_the_float_model_where_nothing_is_quantized(model: Any) -> None:
    from gemcut.calibrate.simulation import Yardstick, simulated

    yardstick = Yardstick(model, segments()[:5])
    assert abs(yardstick.mean_kl(simulated(model, load_recipe("float32"), {}))) < 1e-5
    assert yardstick.mean_kl(simulated(model, load_recipe("int4").uncalibrated(), {})) > 1e-3
