"""Multimodal checkpoints in their published layouts: saved by transformers, and renamed to older prefixes."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.checkpoint.weights import load_float_model

from tests.support.checkpoints import CONFIGS

IDS = torch.tensor([[2, 17, 300, 44, 5, 401, 402, 9, 17, 23, 60, 61, 62, 63, 64, 65, 66, 67, 300, 12]])
WHOLES = ["gemma3", "gemma3n", "gemma4", "gemma4_moe", "gemma4_unified"]
TEXTS = {"gemma4_moe": "gemma4"}
# Where the names of a multimodal checkpoint started, from the newest on; as in transformers' _checkpoint_conversion
# mappings, which rename them on loading.
OLDER = {
    "newest": [],
    "first": [
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
        ("model.", ""),
    ],
    "without-model": [("model.language_model.", "language_model."), ("model.", "")],
}


def whole_config(name):
    """The configuration of a whole multimodal model, as tiny as it goes."""
    from transformers import Gemma3nAudioConfig, Gemma3nConfig

    if name == "gemma4_moe":
        config = CONFIGS["gemma4"]()
        config.text_config = CONFIGS["gemma4_moe"]()
        return config
    if name != "gemma3n":
        return CONFIGS[name]()
    text = CONFIGS["gemma3n_text"](vocab_size=512, vocab_size_per_layer_input=500).to_dict()
    audio = {"conf_num_hidden_layers": 1, "conf_num_attention_heads": 2, "sscp_conv_channel_size": [4, 4]}
    audio |= {"hidden_size": 16, "vocab_size": 4, "vocab_offset": 508}
    vision = {"hidden_size": 16, "vocab_size": 8, "vocab_offset": 500}
    return Gemma3nConfig(
        text_config=text,
        audio_config=Gemma3nAudioConfig(**audio).to_dict(),
        vision_config=vision,
        vision_soft_tokens_per_image=4,
    )


def build(config, monkeypatch):
    """transformers' own whole model with weights that spread its logits; 3n's vision tower, which is timm's, a stub."""
    from transformers import AutoModel, AutoModelForImageTextToText

    make = AutoModel.from_config

    def without_timm(config, *more, **settings):
        if config.model_type == "gemma3n_vision":
            return torch.nn.Conv2d(3, 4, 2)
        return make(config, *more, **settings)

    monkeypatch.setattr("transformers.models.gemma3n.modeling_gemma3n.AutoModel.from_config", without_timm)
    torch.manual_seed(7)
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, parameter.shape[-1] ** -0.5, generator=generator)
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits[0].float()


@pytest.fixture(scope="module")
def saved(pristine, tmp_path_factory):
    """``saved(name, tied)``: a whole model saved by transformers, and its own text logits."""
    made = {}
    with pytest.MonkeyPatch.context() as monkeypatch:

        def of(name, tied=True):
            if (name, tied) not in made:
                config = whole_config(name)
                config.tie_word_embeddings = config.text_config.tie_word_embeddings = tied
                model = build(config, monkeypatch)
                folder = tmp_path_factory.mktemp("saved") / f"tiny-{name}"
                model.save_pretrained(folder)
                for file in pristine("gemma3_text").glob("*token*"):
                    shutil.copy(file, folder)
                shutil.copy(pristine("gemma3_text") / "chat_template.jinja", folder)
                made[name, tied] = folder, type(model).__name__, logits(model)
            return made[name, tied]

        yield of


def newest_names(tensors):
    """Names as the newest transformers has them in memory, from those that any has saved."""
    found = {}
    for name, tensor in tensors.items():
        for old, new in (("language_model.model.", "model.language_model."), ("language_model.lm_head.", "lm_head.")):
            if name.startswith(old):
                name = new + name.removeprefix(old)
        plain = name.startswith(("model.", "lm_head."))
        found[name if plain else f"model.{name}"] = tensor
    return found


def renamed(tensors, pairs):
    def rename(name):
        for old, new in pairs:
            if name.startswith(old):
                return new + name.removeprefix(old)
        return name

    return {rename(name): tensor for name, tensor in newest_names(tensors).items()}


@pytest.mark.parametrize("name", WHOLES)
def test_text_part_is_that_of_the_whole_model_as_transformers_saves_it(saved, name):
    folder, kind, expected = saved(name)
    assert kind.endswith("ForConditionalGeneration")
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.family.model_type == TEXTS.get(name, name)
    assert any("left out: text only" in note for note in checkpoint.notes)
    model = load_float_model(checkpoint)
    assert type(model).__name__.endswith("ForCausalLM")
    assert expected.std() > 0.3
    torch.testing.assert_close(logits(model), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layout", sorted(OLDER))
@pytest.mark.parametrize("name", WHOLES)
def test_older_prefixes_give_the_same_text_part(saved, load_all, save_single, tmp_path, name, layout):
    folder, _, expected = saved(name)
    copy = shutil.copytree(folder, tmp_path / "copy")
    tensors = renamed(load_all(folder), OLDER[layout])
    anchors = {"newest": "model.language_model.", "first": "language_model.model.", "without-model": "language_model."}
    assert f"{anchors[layout]}embed_tokens.weight" in tensors
    save_single(copy, tensors)
    torch.testing.assert_close(logits(load_float_model(open_checkpoint(str(copy)))), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layout", ["newest", "first"])
@pytest.mark.parametrize("name", ["gemma3", "gemma4"])
def test_untied_head_of_a_whole_model_is_its_own(saved, load_all, save_single, tmp_path, name, layout):
    folder, _, expected = saved(name, tied=False)
    assert not torch.allclose(expected, saved(name)[2], atol=0.1)
    copy = shutil.copytree(folder, tmp_path / "copy")
    tensors = renamed(load_all(folder), OLDER[layout])
    assert ("lm_head.weight" if layout == "newest" else "language_model.lm_head.weight") in tensors
    save_single(copy, tensors)
    checkpoint = open_checkpoint(str(copy))
    assert not checkpoint.text_config.tie_word_embeddings
    torch.testing.assert_close(logits(load_float_model(checkpoint)), expected, rtol=0, atol=1e-4)


def test_generation_config_with_sampling_and_several_turn_ends_is_kept(saved, tmp_path):
    from transformers import GenerationConfig

    folder = shutil.copytree(saved("gemma3")[0], tmp_path / "copy")
    # As google/gemma-3-4b-it has it; ids as this tokenizer's vocabulary has room for.
    published = {
        "do_sample": True,
        "top_k": 64,
        "top_p": 0.95,
        "bos_token_id": 2,
        "eos_token_id": [1, 106, 107],
        "pad_token_id": 0,
        "cache_implementation": "hybrid",
    }
    GenerationConfig(**published).save_pretrained(folder)
    checkpoint = open_checkpoint(str(folder))
    assert {key: checkpoint.generation[key] for key in published} == published
    assert {1, 106, 107} <= set(checkpoint.stop_ids)
    # Older ones ask for a temperature without sampling; transformers warns, and nothing here depends on it.
    for changes in ({"do_sample": False, "temperature": 0.1}, {"eos_token_id": 106, "temperature": 0.6, "top_p": 0.9}):
        (folder / "generation_config.json").write_text(json.dumps(published | changes))
        again = open_checkpoint(str(folder))
        assert 106 in again.stop_ids
        assert again.generation["temperature"] == changes["temperature"]
