"""LiteRT-LM's engine on packed files: a small decoder of torch's, converted, against torch and transformers."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
from gemcut.errors import ConformanceError, LackingError
from gemcut.formats.litertlm import PROGRAM, find_section, section_sha256
from gemcut.runtimes.litert import id_tokenizer as identity
from gemcut.runtimes.litert import litert_lm as engine
from gemcut.runtimes.runs import Job, Run
from torch import nn

SAMPLE = Path(str(resources.files("gemcut").joinpath("sample", "model")))
THINKS = "{{- '<bos>' -}}{%- if enable_thinking -%}{{- 'think\n' -}}{%- endif -%}"  # the sample's has nothing of it
TEMPLATE = (SAMPLE / "chat_template.jinja").read_text(encoding="utf-8").replace("{{- '<bos>' -}}", THINKS)
VOCAB, WIDTH, HEADS, DEPTH, LAYERS, SLOTS = 2048, 32, 2, 16, 2, 256
PREFILLS, BOS, STOPS, HI = (8, 64), 2, (1, 6), {"role": "user", "content": "hi"}
TURNS = "{% for m in messages %}<|turn>{{ m['role'] }}\n{{ m['content'][0]['text'] }}<turn|>\n{% endfor %}"
ASKS = "{% if add_generation_prompt %}<|turn>model\n{% endif %}"


class Tiny(nn.Module):
    """Attention and nothing else: enough that every earlier token matters to the next."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def draw(rows: int, columns: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, columns, generator=generator) * scale, requires_grad=False)

        self.tokens, self.places = draw(VOCAB, WIDTH, 1.0), draw(SLOTS, WIDTH, 0.7)
        self.mix = nn.ParameterList(draw(3 * HEADS * DEPTH, WIDTH, 1.5 / math.sqrt(WIDTH)) for _ in range(LAYERS))
        self.out = nn.ParameterList(draw(WIDTH, HEADS * DEPTH, 1.5 / math.sqrt(WIDTH)) for _ in range(LAYERS))

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, keep: Callable[..., Any]
    ) -> torch.Tensor:
        x, count = self.tokens[ids] + self.places[positions][None], ids.shape[1]
        for layer in range(LAYERS):
            mixed = (x @ self.mix[layer].T).reshape(1, count, 3, HEADS, DEPTH)
            query, key, value = mixed.permute(2, 0, 3, 1, 4)
            key, value = keep(layer, key, value)
            shares = torch.softmax(query @ key.transpose(2, 3) / 4 + mask, -1)
            x = x + (shares @ value).transpose(1, 2).reshape(1, count, HEADS * DEPTH) @ self.out[layer].T
            x = x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
        return x[:, -1:] @ self.tokens.T

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """Without any cache: the whole text anew for each token."""
        ids = list(prompt)
        for _ in range(count):
            positions = torch.arange(len(ids))
            mask = torch.where(positions[None] <= positions[:, None], 0.0, -1e9)[None, None]
            logits = self(torch.tensor([ids]), positions, mask, lambda layer, key, value: (key, value))
            ids.append(int(logits.argmax()))
        return ids[len(prompt) :]


class Signature(nn.Module):
    """One of the signatures that the engine calls."""

    def __init__(self, tiny: Tiny, logits: bool) -> None:
        super().__init__()
        self.tiny, self.logits = tiny, logits

    def forward(
        self, tokens: torch.Tensor, input_pos: torch.Tensor, mask: torch.Tensor, **caches: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        from litert_torch.generative.custom_ops.dynamic_update_slice import dynamic_update_slice

        found: dict[str, torch.Tensor] = {}
        zero = torch.zeros((), dtype=torch.int32)

        def keep(layer: int, key: torch.Tensor, value: torch.Tensor) -> list[torch.Tensor]:
            for kind, states in (("k", key), ("v", value)):
                name = f"kv_cache_{kind}_{layer}"
                found[name] = dynamic_update_slice(caches[name], states, [zero, zero, input_pos[0], zero])
            return [found[f"kv_cache_{kind}_{layer}"] for kind in "kv"]

        logits = self.tiny(tokens, input_pos, mask, keep)
        return found | {"logits": logits} if self.logits else found


@dataclass(frozen=True)
class Maker:
    """Packs the converted decoder with any metadata and tokenizer, through upstream's builder."""

    tiny: Tiny
    program: Path
    folder: Path
    made: list[Path] = field(default_factory=list)

    def __call__(
        self,
        template: str = TURNS + ASKS,
        tokenizer: str = "tokenizer.json",
        start: int | None = None,
        stops: Sequence[int] = STOPS,
    ) -> Path:
        from litert_lm_builder import LitertLmFileBuilder, TfLiteModelType
        from litert_lm_builder.runtime.proto import llm_metadata_pb2

        folder = self.folder / str(len(self.made))
        folder.mkdir()
        metadata = llm_metadata_pb2.LlmMetadata(max_num_tokens=SLOTS, jinja_prompt_template=template)
        metadata.llm_model_type.generic_model.SetInParent()
        for stop in stops:
            metadata.stop_tokens.add().token_ids.ids.append(stop)
        if start is not None:
            metadata.start_token.token_ids.ids.append(start)
        described = self.folder / "metadata.pb"
        described.write_bytes(metadata.SerializeToString())
        builder = LitertLmFileBuilder()
        builder.add_llm_metadata(str(described))
        file = str(SAMPLE / tokenizer)
        (builder.add_hf_tokenizer if file.endswith(".json") else builder.add_sentencepiece_tokenizer)(file)
        builder.add_tflite_model(str(self.program), TfLiteModelType.PREFILL_DECODE)
        path = folder / "model.litertlm"
        with path.open("wb") as out:
            builder.build(out)
        self.made.append(path)
        return path


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    import litert_torch

    tiny, converter = Tiny().eval(), litert_torch.Converter()
    caches = {f"kv_cache_{k}_{i}": torch.zeros(1, HEADS, SLOTS, DEPTH) for k in "kv" for i in range(LAYERS)}
    for length in (*PREFILLS, 1):
        inputs = {
            "tokens": torch.zeros(1, length, dtype=torch.int32),
            "input_pos": torch.arange(length, dtype=torch.int32),
            "mask": torch.zeros(1, 1, length, SLOTS),
        }
        name = "decode" if length == 1 else f"prefill_{length}"
        converter.add_signature(name, Signature(tiny, length == 1).eval(), sample_kwargs=inputs | caches)
    folder = tmp_path_factory.mktemp("engine")
    converter.convert().export(str(folder / "tiny.tflite"))
    return Maker(tiny, folder / "tiny.tflite", folder)


@pytest.fixture(scope="module")
def packed(make: Maker) -> Path:
    """With a start token and stop tokens, none of which may show in ids."""
    return make(start=BOS)


@pytest.fixture(scope="module")
def oracle() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(SAMPLE)


def spread(count: int, seed: int = 0) -> list[int]:
    return [(7919 * (index + seed) + 3) % VOCAB for index in range(1, count + 1)]


def sample_chats() -> list[engine.Chat]:
    """The sample's goldens; tool results as text, because the engine wraps mappings before a template sees them."""
    chats = []
    for line in (SAMPLE / "golden_prompts.jsonl").read_text(encoding="utf-8").splitlines():
        golden = json.loads(line)
        messages = [m if m["role"] != "tool" else {**m, "content": "ok"} for m in golden["messages"]]
        chats.append(engine.Chat(messages, golden.get("tools") or []))
    return chats


def wanted_ids(oracle: Any, chat: engine.Chat) -> tuple[int, ...]:
    settings = {
        "add_generation_prompt": chat.add_generation_prompt,
        "enable_thinking": chat.thinking,
        "tools": list(chat.tools) or None,
        "chat_template": TEMPLATE,
    }
    return tuple(oracle.apply_chat_template(list(chat.messages), return_dict=False, **settings))


class Interferer:
    """Progress that does something at the first prompt."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act

    def stage(self, name: str) -> None: ...

    def note(self, text: str) -> None: ...

    def update(self, done: float, total: float, what: str = "") -> None:
        self.act()


def children() -> list[int]:
    """Processes of ours that run the worker."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"litert_lm_worker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill_children(number: int) -> None:
    for child in children():
        os.kill(child, number)


def test_greedy_ids_equal_torch_for_every_way_of_cutting_a_prompt(make: Maker, tmp_path: Path) -> None:
    lengths = (1, 2, 7, 8, 9, 16, 63, 64, 65, 72, 130, 200)
    prompts = [spread(length, seed) for seed, length in enumerate(lengths)]
    wanted = [make.tiny.greedy(prompt, 12) for prompt in prompts]
    stopping = make(start=BOS, stops=sorted({reply[3] for reply in wanted}))
    assert engine.greedy(stopping, prompts, [12] * len(prompts), VOCAB, tmp_path) == wanted


def test_greedy_ends_with_the_context_and_asks_for_nothing_where_nothing_is_wanted(
    make: Maker, packed: Path, tmp_path: Path
) -> None:
    long = spread(SLOTS - 5)
    found = engine.greedy(packed, [long, [4], long], [40, 0, 5], VOCAB, tmp_path)
    assert found == [make.tiny.greedy(long, 5), [], make.tiny.greedy(long, 5)]


def test_caches_go_to_the_work_folder_alone_and_are_gone_afterwards(packed: Path, tmp_path: Path) -> None:
    def state() -> list[tuple[str, int, int]]:
        return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in packed.parent.iterdir())

    before = state()
    engine.greedy(packed, [spread(4)], [2], VOCAB, tmp_path)
    engine.conversation_ids(packed, [engine.Chat([HI])], tmp_path)
    engine.reply(packed, [{"role": "user", "content": "hi"}], [], 2, tmp_path)
    engine.bench(Job("litert", str(packed), (8,), (2,), None), 1, tmp_path)
    assert state() == before
    assert list(tmp_path.iterdir()) == []


def test_the_identity_bundle_holds_the_very_program(packed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "identity.litertlm"
    assert identity.write_identity(packed, copy, VOCAB) == SLOTS
    first, second = find_section(packed, PROGRAM), find_section(copy, PROGRAM)
    assert section_sha256(packed, first) == section_sha256(copy, second)
    assert first.metadata == second.metadata
    assert identity.ids_of(identity.words_of([5, 0, 17])) == [5, 0, 17]
    with pytest.raises(ValueError, match="is not a text of an identity tokenizer"):
        identity.ids_of("t5 five")


def test_what_the_engine_refuses_it_says_in_its_own_words(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConformanceError, match=r"LiteRT-LM refuses model\.litertlm: .*Input token ids are too long"):
        engine.greedy(packed, [spread(SLOTS)], [1], VOCAB, tmp_path)
    with pytest.raises(ConformanceError, match="gather_nd index out of bounds"):  # on stderr alone
        engine.greedy(packed, [[VOCAB + 5] * 4], [1], VOCAB * 2, tmp_path)
    with pytest.raises(ValueError, match="outside 0"):
        engine.greedy(packed, [[VOCAB]], [1], VOCAB, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 20, 5000, 0.3, 0.999])
def test_a_cut_file_is_never_a_success(packed: Path, tmp_path: Path, kept: float) -> None:
    data = packed.read_bytes()
    cut, work = tmp_path / "cut.litertlm", tmp_path / "work"
    cut.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    work.mkdir()
    with pytest.raises(ConformanceError, match=r"cut\.litertlm"):
        engine.greedy(cut, [spread(4)], [2], VOCAB, work)
    with pytest.raises(ConformanceError, match=r"cut\.litertlm"):
        engine.conversation_ids(cut, [], work)


def test_a_damaged_program_or_a_missing_file_is_never_a_success(packed: Path, tmp_path: Path) -> None:
    section = find_section(packed, PROGRAM)
    data = bytearray(packed.read_bytes())
    data[section.begin : section.begin + 4096] = bytes(4096)
    damaged = tmp_path / "damaged.litertlm"
    damaged.write_bytes(data)
    for path in (damaged, tmp_path / "missing.litertlm"):
        with pytest.raises(ConformanceError, match=path.name):
            engine.greedy(path, [spread(4)], [2], VOCAB, tmp_path)
        with pytest.raises(ConformanceError, match=path.name):
            engine.conversation_ids(path, [], tmp_path)
        with pytest.raises(ConformanceError, match=path.name):
            engine.bench(Job("litert", str(path), (4,), (2,), None), 1, tmp_path)


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [(signal.SIGSEGV, ConformanceError, "crashed with SIGSEGV on model"), (signal.SIGKILL, LackingError, "memory")],
)
def test_a_crash_is_the_bundle_s_and_a_kill_is_memory_s(
    packed: Path, tmp_path: Path, number: int, error: type[Exception], said: str
) -> None:
    end = Interferer(lambda: kill_children(number))
    with pytest.raises(error, match=said):
        engine.greedy(packed, [spread(100)] * 500, [100] * 500, VOCAB, tmp_path, progress=end)


def test_an_interruption_leaves_neither_a_process_nor_a_file(packed: Path, tmp_path: Path) -> None:
    def interrupt() -> None:
        assert children()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.greedy(packed, [spread(100)] * 500, [100] * 500, VOCAB, tmp_path, progress=Interferer(interrupt))
    assert children() == []
    assert list(tmp_path.iterdir()) == []


def test_chats_and_texts_come_to_the_ids_of_transformers(make: Maker, oracle: Any, tmp_path: Path) -> None:
    chats = sample_chats()
    odd = [{"role": "user", "content": "\u00e9 \U0001f680\U0001f469\u200d\U0001f680 \u4e2d \x07 x"}]
    chats += [replace(chats[2], add_generation_prompt=False), engine.Chat(odd)]
    chats += [replace(chat, thinking=True) for chat in (*chats[:4], chats[-1])]
    texts = ["", " lead", "a\n\n\nb", "\U0001f600 \u0416 \u4e2d\u6587 \xa0", "<|turn>user"]
    found = engine.conversation_ids(make(TEMPLATE), chats, tmp_path, texts)
    assert [heard.ids for heard in found.chats] == [wanted_ids(oracle, chat) for chat in chats]
    assert {heard.refused + heard.inexpressible for heard in found.chats} == {""}
    fed = [None if not chat.add_generation_prompt else len(wanted_ids(oracle, chat)) for chat in chats]
    assert [heard.fed for heard in found.chats] == fed
    wanted = [tuple(oracle(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert [cut.ids for cut in found.texts] == wanted
    assert [cut.text for cut in found.texts] == texts


def test_a_sentencepiece_bundle_gets_its_bos_from_the_metadata(make: Maker, oracle: Any, tmp_path: Path) -> None:
    assert "{{- '<bos>' -}}" in TEMPLATE
    bundle = make(TEMPLATE.replace("{{- '<bos>' -}}", ""), "tokenizer.model", start=BOS)
    chats = sample_chats()[:4]
    found = engine.conversation_ids(bundle, chats, tmp_path).chats
    assert [heard.ids for heard in found] == [wanted_ids(oracle, chat) for chat in chats]
    assert [heard.fed for heard in found] == [len(wanted_ids(oracle, chat)) for chat in chats]


@pytest.mark.parametrize("tokenizer", ["tokenizer.json", "tokenizer.model"])
def test_a_bos_that_template_and_metadata_both_write_shows_twice(make: Maker, tokenizer: str, tmp_path: Path) -> None:
    bundle = make("<bos>" + TURNS + ASKS, tokenizer, start=BOS)
    (heard,) = engine.conversation_ids(bundle, [engine.Chat([HI])], tmp_path).chats
    assert heard.ids is not None
    assert heard.ids[:2] == (BOS, BOS)
    assert heard.ids[2] != BOS
    assert heard.fed == len(heard.ids)


def test_ids_that_the_engine_s_own_count_denies_are_an_error(make: Maker, tmp_path: Path) -> None:
    """A start token that the tokenizer doesn't have is one that the engine tells of, but doesn't feed."""
    with pytest.raises(ConformanceError, match="LiteRT-LM feeds"):
        engine.conversation_ids(make(start=VOCAB + 5), [engine.Chat([HI])], tmp_path)


def test_what_a_chat_fails_of_is_said(make: Maker, tmp_path: Path) -> None:
    """The first is upstream's: 0.18 hands every template lists, also those that add strings."""
    adding = make("{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}")
    chats = [engine.Chat([HI]), engine.Chat([]), engine.Chat([HI], [{"type": "function"}])]
    refused, empty, nameless = engine.conversation_ids(adding, chats, tmp_path).chats
    assert "Failed to apply template" in refused.refused
    assert refused.ids is None
    assert "begins with a message" in empty.inexpressible
    assert "function" in nameless.inexpressible
    (long,) = engine.conversation_ids(make(), [engine.Chat([{**HI, "content": "hi " * SLOTS}])], tmp_path).chats
    assert "too long" in long.refused
    assert long.fed is None


def test_a_reply_is_the_text_of_the_greedy_ids(make: Maker, oracle: Any, tmp_path: Path) -> None:
    bundle, messages = make(), [{"role": "user", "content": "What time is it?"}]
    (heard,) = engine.conversation_ids(bundle, [engine.Chat(messages)], tmp_path).chats
    assert heard.ids is not None
    (ids,) = engine.greedy(bundle, [heard.ids], [12], VOCAB, tmp_path)
    assert not set(ids) & set(STOPS)
    answer = engine.reply(bundle, messages, [], 12, tmp_path)
    assert answer["role"] == "assistant"
    assert answer["content"] == [{"type": "text", "text": oracle.decode(ids)}]


def test_bench_measures_each_run_in_a_process_of_its_own(packed: Path, tmp_path: Path) -> None:
    def bench(prompts: tuple[int, ...], steps: int, runs: int = 1, depth: int = 0) -> list[Run]:
        return engine.bench(Job("litert", str(packed), prompts, (steps,), None, depth), runs, tmp_path)

    runs = bench((16, 100), 8, 2)
    assert len(runs) == 2
    for run in runs:
        assert (len(run.prefill), len(run.decode)) == (2, 1)
        assert min(run.load, *run.decode, *run.prefill) > 0
        assert run.own_memory + run.mapped_memory > 0
        assert 0 < run.peak_memory < run.memory_before, "a tiny program takes less than Python"
        assert run.written > 0
    with pytest.raises(ConformanceError, match="too long"):
        bench((SLOTS,), 8)
    with pytest.raises(ConformanceError, match="tokens instead of 200 and 100"):
        bench((), 100, depth=200)


def test_the_engine_is_of_the_release_that_this_code_holds_for() -> None:
    assert engine.version().startswith("0.18.")
