"""The graph room's small parts: what it refuses, the cache's shape, norms and activations."""

from __future__ import annotations

from typing import Any

import pytest
from gemcut.errors import UnsupportedError


def config(**changes: Any) -> Any:
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(**{"num_hidden_layers": 6, "sliding_window": 32, "max_position_embeddings": 4096} | changes)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"layer_types": ["full_attention"] * 5 + ["chunked_attention"]}, "layer_types"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6}}},
            "rope_parameters.full_attention",
        ),
    ],
)
def test_what_has_no_adaptation_is_refused_with_its_key(changes: dict[str, Any], key: str) -> None:
    from gemcut.modeling.supported import refuse_unsupported

    with pytest.raises(UnsupportedError, match=key) as caught:
        refuse_unsupported(config(**changes), "executorch")
    assert caught.value.exit_code == 4


def refuse(**of: Any) -> None:
    from gemcut.modeling.parts import PARTS, TEXT_DECODER
    from gemcut.modeling.supported import refuse_modules
    from transformers import AutoConfig

    refuse_modules(PARTS.get(TEXT_DECODER).empty(AutoConfig.for_model(**of)), "executorch")


def test_what_the_modules_show_is_refused_with_their_names() -> None:
    small = {"num_hidden_layers": 1, "hidden_size": 64, "vocab_size": 100}
    with pytest.raises(UnsupportedError, match="a state or a custom attention"):
        refuse(model_type="mamba", **small)
    with pytest.raises(
        UnsupportedError, match=r"model\.layers\.0\.mlp\.experts .* layout .* is_transposed.*_apply_gate"
    ):
        refuse(model_type="gpt_oss", num_local_experts=2, **small)


@pytest.mark.parametrize(
    ("family", "changes", "what"),
    [
        ("deepseek_v3", {"first_k_dense_replace": 1}, r"queries, keys and values of different widths \(layer 0.*128"),
        ("diffllama", {"num_attention_heads": 4}, r"a custom attention \(DiffLlamaForCausalLM"),
        (
            "nemotron",
            {"num_attention_heads": 4, "num_key_value_heads": 4},
            r"passes no keywords on to its attention \(layer 0, NemotronAttention",
        ),
    ],
)
def test_what_a_run_without_weights_shows_is_refused_with_its_layer(
    family: str, changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(UnsupportedError, match=what) as caught:
        refuse(model_type=family, num_hidden_layers=1, hidden_size=64, vocab_size=100, **changes)
    assert caught.value.exit_code == 4


def refuse_gemma3(change: Any) -> None:
    from gemcut.modeling.parts import PARTS, TEXT_DECODER
    from gemcut.modeling.supported import refuse_modules

    model = PARTS.get(TEXT_DECODER).empty(
        config(num_hidden_layers=2, hidden_size=64, layer_types=["sliding_attention"] * 2)
    )
    attention = model.model.layers[1].self_attn
    change(attention)
    refuse_modules(model, "executorch")


def test_a_layer_that_calls_its_attention_otherwise_than_its_configuration_says_is_refused() -> None:
    """Each of these would be a program that is wrong without a word, past the window or at once."""
    import torch

    refuse_gemma3(lambda attention: None)
    for change, what in (
        (
            lambda a: setattr(a, "sliding_window", 7),
            r"a window of 7 \(layer 1, Gemma3Attention; its config\.json says 32",
        ),
        (lambda a: setattr(a, "sliding_window", None), "a window of None"),
        (lambda a: setattr(a, "is_causal", False), "attention to later positions"),
        (lambda a: setattr(a, "layer_idx", 0), "a custom attention .*layer 1"),
        (lambda a: setattr(a, "k_proj", torch.nn.Linear(64, 512, device="meta")), "different widths|keys of"),
    ):
        with pytest.raises(UnsupportedError, match=what):
            refuse_gemma3(change)


@pytest.mark.parametrize(
    ("keyword", "value", "what"),
    [
        ("position_bias", "a tensor", "attention with 'position_bias'"),
        ("softcap", 9.0, r"a softcap of 9\.0 on attention \(layer 1, .*config\.json says None"),
        ("s_aux", 1.0, "attention sinks"),
    ],
)
def test_a_keyword_that_the_configuration_does_not_announce_is_refused(keyword: str, value: Any, what: str) -> None:
    import torch

    def handing_over(attention: Any) -> None:
        own, given = attention.forward, torch.zeros(1, device="meta") if value == "a tensor" else value
        attention.forward = lambda *a, **k: own(*a, **{keyword: given}, **k)

    with pytest.raises(UnsupportedError, match=what):
        refuse_gemma3(handing_over)


def test_a_run_without_weights_leaves_the_model_as_it_was() -> None:
    from gemcut.modeling.parts import PARTS, TEXT_DECODER
    from gemcut.modeling.supported import refuse_modules
    from transformers import AutoConfig

    made = {"num_hidden_layers": 1, "hidden_size": 64, "vocab_size": 100, "num_experts": 4, "num_experts_per_tok": 2}
    model = PARTS.get(TEXT_DECODER).empty(AutoConfig.for_model("qwen3_moe", **made))
    own, training = model.config._attn_implementation, model.training
    refuse_modules(model, "executorch")
    assert (model.config._attn_implementation, model.training) == (own, training)
    assert not [name for name, module in model.named_modules() if "forward" in vars(module)]


def test_a_decoder_whose_parts_have_other_names_is_refused_by_its_type() -> None:
    """It is no fault of the checkpoint's."""
    from gemcut.checkpoint.weights import weight_map
    from transformers import AutoConfig

    config = AutoConfig.for_model("gpt_neox", num_hidden_layers=1, hidden_size=64, vocab_size=100)
    with pytest.raises(UnsupportedError, match=r"'gpt_neox' has no 'model\.embed_tokens\.weight'"):
        weight_map(config, None)  # type: ignore[arg-type]  # refused before a tensor is asked for


def test_experts_of_a_family_that_nothing_names_are_taken_by_their_layout() -> None:
    small = {"num_hidden_layers": 1, "hidden_size": 64, "vocab_size": 100}
    refuse(model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2, **small)


def test_the_cache_is_a_ring_in_local_layers_whole_in_full_ones_and_absent_where_shared() -> None:
    from gemcut.modeling.kv_cache import cache_spec
    from transformers import Gemma4TextConfig

    e2b = Gemma4TextConfig(
        hidden_size=1536,
        intermediate_size=6144,
        num_hidden_layers=35,
        num_attention_heads=8,
        num_key_value_heads=1,
        num_kv_shared_layers=20,
        layer_types=(["sliding_attention"] * 4 + ["full_attention"]) * 7,
    )
    spec = cache_spec(e2b, 4096, 128)
    owned = [layer for layer in spec.layers if layer is not None]
    assert len(owned) == 15
    assert {(x.slots, x.heads, x.head_dim, x.ring) for x in owned} == {(639, 1, 256, True), (4096, 1, 512, False)}
    assert spec.bytes == 4 * 2 * (12 * 639 * 256 + 3 * 4096 * 512)


def test_a_context_within_the_window_needs_no_ring_and_no_mask() -> None:
    from gemcut.modeling.kv_cache import cache_spec

    spec = cache_spec(config(), 32, 8)
    assert not spec.windowed
    assert {layer.slots for layer in spec.layers if layer} == {32}


@pytest.mark.parametrize(("slots", "window"), [(39, None), (64, 32), (39, 16)])
def test_a_layer_that_asks_for_another_window_than_its_cache_has_is_refused(slots: int, window: int | None) -> None:
    """Else a ring would be read as if it were whole, or the other way about."""
    import torch
    from gemcut.modeling.kv_cache import cache_spec
    from gemcut.runtimes.executorch.graph.attention import attend
    from gemcut.runtimes.executorch.graph.cache import StepState

    state = StepState()
    state.spec = cache_spec(config(), 64, 8)
    assert state.spec.ring_slots == 39
    layer, query, cache = torch.nn.Identity(), torch.zeros(1, 4, 1, 8), torch.zeros(1, slots, 1, 8)
    layer.layer_idx = 2
    with pytest.raises(UnsupportedError, match=f"layer 2 asks for a window of {window}.*cache of {slots} slots"):
        attend(layer, query, cache, cache, None, sliding_window=window, step_state=state)


def test_a_module_that_only_calls_itself_a_norm_is_refused() -> None:
    import torch
    from gemcut.runtimes.executorch.graph.norm import delegable_norm

    class OddRMSNorm(torch.nn.Module):
        eps = 1e-6

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / (x.abs().mean(-1, keepdim=True) + self.eps) * self.weight

    with pytest.raises(UnsupportedError, match="not the RMSNorm"):
        delegable_norm("layers.0.odd", OddRMSNorm())


def test_gelu_is_the_tanh_form() -> None:
    import torch
    from gemcut.runtimes.executorch.graph.activation import DelegableGELUTanh, is_gelu_tanh

    x = torch.linspace(-6, 6, 1001)
    assert torch.allclose(DelegableGELUTanh()(x), torch.nn.functional.gelu(x, approximate="tanh"), atol=2e-6)
    assert is_gelu_tanh(torch.nn.GELU(approximate="tanh"))
    assert not is_gelu_tanh(torch.nn.GELU())


def test_a_group_that_does_not_divide_is_refused_with_one_that_fits() -> None:
    from gemcut.quantize.recipe import Scheme
    from gemcut.runtimes.executorch.delegates.xnnpack import DELEGATE

    with pytest.raises(UnsupportedError, match=r"q_proj has 96 columns.*64") as caught:
        DELEGATE.check_scheme(Scheme("x", "int4", 64), 96, "q_proj", gathered=False)
    assert "32" in (caught.value.hint or "")


def test_quantized_weights_are_within_half_a_step() -> None:
    import torch
    from gemcut.quantize.methods.round_to_nearest import METHOD
    from gemcut.quantize.recipe import Scheme

    weight = torch.randn(16, 128, generator=torch.Generator().manual_seed(0))
    for scheme in (Scheme("a", "int4", 32), Scheme("b", "int8")):
        values, scales = METHOD.quantize(weight, scheme)
        back = values.float().reshape(16, scales.shape[1], -1) * scales.unsqueeze(-1)
        error = (back.reshape(16, 128) - weight).abs().reshape(16, scales.shape[1], -1)
        # The scales of groups are bfloat16: half a unit in their last place, over the 7.5 steps of the largest value.
        slack = 7.5 * 2**-8 if scheme.group else 0.0
        assert (error <= scales.unsqueeze(-1) * (0.5001 + slack)).all()
        assert values.abs().max() == (2 ** (4 if scheme.weight == "int4" else 8)) // 2 - 1 or values.min() < -7


def test_a_recipe_that_cannot_be_kept_is_refused_before_the_weights_are_read(tmp_path: Any) -> None:
    from gemcut.pipeline.plan import make_plans
    from gemcut.pipeline.request import ExportRequest

    recipe = tmp_path / "half.toml"
    recipe.write_text(
        'description = "one scale per row of four bits"\n[schemes.four]\nweight = "int4"\n'
        '[[rules]]\nmatch = \'.*\'\nscheme = "four"\nreason = "a test"\n[gate]\nmean_kl = 1.0\nreason = "a test"\n'
    )
    with pytest.raises(UnsupportedError, match=r"embed_tokens.*not int4 without groups"):
        make_plans(ExportRequest(recipe=str(recipe), output=tmp_path / "out"))


def test_multiply_accumulates_are_counted_from_shapes() -> None:
    from gemcut.modeling.kv_cache import cache_spec
    from gemcut.modeling.macs import attention_macs, linear_macs
    from gemcut.modeling.parts import PARTS, TEXT_DECODER

    small = config(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        layer_types=["full_attention"],
    )
    # q 32x32, k and v 32x16, o 32x32, gate, up and down 32x64, the tied head 32x100
    assert linear_macs(PARTS.get(TEXT_DECODER).empty(small)) == 32 * 32 * 2 + 32 * 16 * 2 + 32 * 64 * 3 + 32 * 100
    assert attention_macs(small, cache_spec(small, 64, 8)) == 2 * 2 * 16 * 64
