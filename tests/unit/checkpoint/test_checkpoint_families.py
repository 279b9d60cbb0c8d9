"""Every family that can be opened: its random checkpoint, its loading, its templates, and the runtimes it is for."""

from __future__ import annotations

import json

import pytest
import torch
from gemcut.checkpoint.families import supported
from gemcut.checkpoint.opening import describe, open_checkpoint
from gemcut.checkpoint.weights import load_float_model
from gemcut.errors import UnsupportedError

IDS = torch.tensor([[2, 17, 300, 44, 5, 401, 402, 9, 17, 23, 60, 61, 62, 63, 64, 65, 66, 67, 300, 12]])
TEXT = ["gemma", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text", "gemma4_moe", "gemma4_unified_text", "llama"]


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits[0]


@pytest.mark.parametrize("model_type", [*TEXT, "gemma4_unified"])
def test_float_model_is_the_one_that_transformers_loads(pristine, model_type):
    from transformers import AutoModelForCausalLM

    ours = load_float_model(open_checkpoint(str(pristine(model_type))))
    theirs = AutoModelForCausalLM.from_pretrained(pristine(model_type), dtype=torch.float32).eval()
    torch.testing.assert_close(logits(ours), logits(theirs), rtol=0, atol=1e-5)
    text = getattr(theirs.model, "language_model", theirs.model)
    expected = dict(text.named_buffers())
    found = dict(ours.model.named_buffers())
    assert set(found) == set(expected)
    for name, buffer in found.items():
        torch.testing.assert_close(buffer, expected[name], rtol=1e-6, atol=0, msg=name)


@pytest.mark.parametrize("model_type", TEXT)
def test_random_checkpoint_has_norms_around_one_and_logits_like_a_trained_model(pristine, model_type):
    model = load_float_model(open_checkpoint(str(pristine(model_type))))
    for name, module in model.named_modules():
        if type(module).__name__.endswith("RMSNorm") and getattr(module, "weight", None) is not None:
            with torch.no_grad():
                gain = module(torch.ones(1, module.weight.shape[0])).mean()
            assert gain == pytest.approx(3.0 if name == "model.norm" else 1.0, abs=0.1), name
    assert 1.5 < logits(model).std() < 6
    assert (logits(model)[2] - logits(model)[18]).abs().mean() > 0.5  # one token, two contexts


def test_every_expert_of_a_random_mixture_is_drawn_as_a_matrix_of_its_own(pristine):
    model = load_float_model(open_checkpoint(str(pristine("gemma4_moe"))))
    experts = model.model.layers[0].experts
    assert experts.gate_up_proj.shape == (6, 48, 64)
    assert experts.gate_up_proj.std() == pytest.approx(64**-0.5, rel=0.05)
    assert experts.down_proj.std() == pytest.approx(24**-0.5, rel=0.05)


def test_text_part_of_gemma3n_is_loaded_and_the_rest_left_out(pristine, pristine_gemma3n):
    checkpoint = open_checkpoint(str(pristine_gemma3n))
    assert (checkpoint.family.model_type, checkpoint.text_config.model_type) == ("gemma3n", "gemma3n_text")
    assert "4 tensors of vision, audio and projection parts are left out: text only" in checkpoint.notes
    assert any(note.startswith("3 key and value tensors") for note in checkpoint.notes)
    text = load_float_model(open_checkpoint(str(pristine("gemma3n_text"))))
    model = load_float_model(checkpoint)
    assert type(model).__name__ == "Gemma3nForCausalLM"
    assert torch.equal(logits(model), logits(text))


def test_text_part_of_gemma4_12b_is_loaded_from_the_names_it_was_published_with(fresh, load_all, save_single):
    folder = fresh("gemma4_unified")
    expected = logits(load_float_model(open_checkpoint(str(folder))))
    tensors = {}
    for name, tensor in load_all(folder).items():
        moved = name.replace("embed_vision.multimodal_embedder.", "embed_vision.")
        for part in ("patch_", "pos_"):
            moved = moved.replace(f"embed_vision.{part}", f"vision_embedder.{part}")
        tensors[moved] = tensor
    assert "model.vision_embedder.patch_ln1.weight" in tensors
    save_single(folder, tensors)
    assert torch.equal(logits(load_float_model(open_checkpoint(str(folder)))), expected)


PUBLISHED = {
    "gemma": (
        {
            "model_type": "gemma",
            "hidden_act": "gelu",
            "hidden_size": 2048,
            "intermediate_size": 16384,
            "num_hidden_layers": 18,
            "num_attention_heads": 8,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "rope_scaling": None,
            "rope_theta": 10000.0,
            "vocab_size": 256000,
        },
        {"hidden_size": 2048, "tie_word_embeddings": True, "num_key_value_heads": 1},
    ),
    "gemma2": (
        {
            "model_type": "gemma2",
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
            "head_dim": 256,
            "cache_implementation": "hybrid",
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "query_pre_attn_scalar": 256,
            "sliding_window": 4096,
            "hidden_activation": "gelu_pytorch_tanh",
            "rope_theta": 10000.0,
            "vocab_size": 256000,
        },
        {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window": 4096},
    ),
    "gemma3n": (
        {
            "model_type": "gemma3n",
            "text_config": {
                "model_type": "gemma3n_text",
                "hidden_size": 2048,
                "intermediate_size": [8192] * 30,
                "num_hidden_layers": 30,
                "num_kv_shared_layers": 10,
                "rope_local_base_freq": 10000.0,
                "rope_theta": 1000000.0,
                "activation_sparsity_pattern": [0.95] * 10 + [0.0] * 20,
                "vocab_size": 262400,
            },
            "vision_config": {"model_type": "gemma3n_vision", "architecture": "mobilenetv5_300m_enc"},
        },
        {"num_kv_shared_layers": 10, "altup_num_inputs": 4, "final_logit_softcapping": 30.0, "head_dim": 256},
    ),
    "gemma4_unified": (
        {
            "model_type": "gemma4_unified",
            "text_config": {
                "model_type": "gemma4_unified_text",
                "hidden_size": 3840,
                "num_hidden_layers": 48,
                "attention_k_eq_v": True,
                "num_global_key_value_heads": 1,
                "final_logit_softcapping": 30.0,
            },
        },
        {"attention_k_eq_v": True, "final_logit_softcapping": 30.0, "use_bidirectional_attention": "vision"},
    ),
    "llama": (
        {
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "pretraining_tp": 1,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-05,
            "rope_scaling": None,
            "vocab_size": 32000,
            "tie_word_embeddings": False,
        },
        {"head_dim": 128, "tie_word_embeddings": False, "rms_norm_eps": 1e-05},
    ),
}


@pytest.mark.parametrize("model_type", sorted(PUBLISHED))
def test_configuration_as_published_is_read(tmp_path, model_type):
    written, expected = PUBLISHED[model_type]
    (tmp_path / "config.json").write_text(json.dumps(written))
    described = describe(str(tmp_path))
    assert described.text_config.model_type == supported()[model_type].text_type
    assert {key: getattr(described.text_config, key, None) for key in expected} == expected


# As google/gemma-2b-it and gemma-2-2b-it, and meta-llama/Llama-2-7b-chat-hf have them in tokenizer_config.json.
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
    "{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
LLAMA_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content | trim + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("model_type", "template", "kinds"),
    [
        ("gemma", GEMMA_TEMPLATE, {"multi-turn", "chat"}),
        ("gemma2", GEMMA_TEMPLATE, {"long", "multi-turn", "chat"}),
        ("gemma3n_text", None, {"long", "system", "multi-turn", "chat"}),
        ("llama", LLAMA_TEMPLATE, {"system", "multi-turn", "chat"}),
    ],
)
def test_templates_as_published_give_enough_prompts_to_prove_with(fresh, model_type, template, kinds):
    from gemcut.prompt.codec import load_codec
    from gemcut.prove.prompts import LEAST_PROMPTS, choose_prompts

    folder = fresh(model_type)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    checkpoint = open_checkpoint(str(folder))
    refuses = any("takes no system turn: System role not supported" in note for note in checkpoint.notes)
    assert refuses == (template is GEMMA_TEMPLATE)
    names = {"bos_token": "<bos>", "eos_token": "<eos>"}
    codec = load_codec(folder / "tokenizer.json", checkpoint.chat_template, names)
    prompts = choose_prompts(codec, getattr(checkpoint.text_config, "sliding_window", None), 4096)
    assert len(prompts) >= LEAST_PROMPTS
    assert {prompt.kind for prompt in prompts} == kinds
    for prompt in prompts:
        rendered = codec.render(prompt.messages, None, True)
        theirs = checkpoint.tokenizer.apply_chat_template(
            list(prompt.messages), chat_template=checkpoint.chat_template, tokenize=False, add_generation_prompt=True
        )
        assert rendered == theirs
        assert codec.encode(rendered) == checkpoint.tokenizer.encode(theirs, add_special_tokens=False)


def test_a_type_that_only_transformers_knows_is_taken_as_a_text_model():
    from gemcut.checkpoint.families import family_of

    family = family_of("qwen3", "config.json")
    assert (family.text_type, family.licence) == ("qwen3", "unknown")
    assert "qwen3" not in supported()


@pytest.mark.parametrize("model_type", ["bert_of_nobody", "siglip_vision_model", "gemma4_assistant"])
def test_a_type_without_a_text_model_is_refused(model_type):
    from gemcut.checkpoint.families import family_of

    with pytest.raises(UnsupportedError, match=model_type) as caught:
        family_of(model_type, "config.json")
    assert caught.value.exit_code == 4
