"""LlmMetadata and chat templates: what LiteRT-LM's own engine makes of them is what transformers makes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from gemcut.checkpoint.random import _TEMPLATE
from gemcut.checkpoint.start_token import start_token
from gemcut.errors import UnsupportedError
from gemcut.runtimes.litert.litertlm_writer import pack
from gemcut.runtimes.litert.metadata import engine_template, engine_type, llm_metadata, renders_tools
from gemcut.runtimes.litert.minijinja import rewrite
from gemcut.runtimes.litert.spacing import Spacing
from gemcut.runtimes.litert.tokenizer_section import choose_tokenizer
from litert_lm_builder.runtime.proto import llm_metadata_pb2, sampler_params_pb2
from transformers import AutoTokenizer, LlamaTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from tests.support.litert_echo import declared, greedy, open_engine, rendered, write_echo

SAMPLE = Path(__file__).parents[3] / "exporter" / "sample" / "model"
TEMPLATE = (SAMPLE / "chat_template.jinja").read_text(encoding="utf-8")
TEMPLATES = Path(__file__).parents[2] / "support" / "templates"
VOCABULARY = 2048
CALLING = "<start_function_call>"

USER = {"role": "user", "content": "Hi  there, 🙂\n🙂🙂 日本語\n\n  you <|turn> "}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": 'The "weather" <now>.',
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Oslo"]}, "days": {"type": "array", "items": {}}},
                "required": ["city"],
            },
        },
    }
]
CALL = {"name": "get_weather", "arguments": {"city": "Oslo", "days": [1, -2.5, True], "none": None, "in": {"a": ""}}}
CHATS: list[tuple[list[dict[str, Any]], Any]] = [
    ([USER], None),
    ([{"role": "system", "content": " Be brief.\n"}, USER, {"role": "assistant", "content": "yes\n"}, USER], None),
    ([USER], TOOLS),
    (
        [
            USER,
            {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": CALL}]},
            {"role": "tool", "name": "get_weather", "content": {"sky": "clear", "rain": None}},
            {"role": "assistant", "content": "Clear."},
            USER,
        ],
        TOOLS,
    ),
    ([{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": " two"}]}], None),
]

# As Llama 2's is written: strings alone, tokens by name, methods, a BOS before every turn.
LLAMA = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
    "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# What the engine's own Jinja gets wrong or refuses, in one template.
HARD = """{{ bos_token }}{%- macro show(value) -%}
{%- if value is none -%}null{%- elif value is mapping -%}
{%- for key in value.keys() -%}{{ key }}={{ show(value.get(key)) }};{%- endfor -%}
{%- elif value is string -%}{{ value.split(' ')[0].upper() }}{%- elif value is sequence -%}
{%- for item in value -%}{{ show(item) }}{{ ', ' if not loop.last }}{%- endfor -%}
{%- else -%}{{ value }}{%- endif -%}{%- endmacro -%}
{%- if tools is not none and tools -%}{{ tools | tojson(indent=4) }}{%- endif %}
{%- for message in messages %}
{{ message['role'] }}: {% generation %}{% set content = message.get('content', '') %}
{{- content | trim if content is string else show(content) }}{% endgeneration %}
{%- if message.tool_calls is defined -%}{{ show(message.tool_calls[0]['function'].items() | list | last | last) }}
{%- endif %}{{ '.strip() {% generation %}' }} {{ ', '.join(['a', 'b']) }} {{ 'x%sx' % loop.index }}
{% endfor %}{{ bos_token in eos_token }}"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo") / "echo.tflite", VOCABULARY)


@pytest.fixture(scope="module")
def sample() -> Any:
    return AutoTokenizer.from_pretrained(SAMPLE)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Llama 2 tokenizer, small."""
    folder, model = tmp_path_factory.mktemp("llama"), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["hello world [INST] hi there [/INST] I am fine <<SYS>> and you"] * 50),
        model_writer=model,
        model_type="bpe",
        vocab_size=350,
        byte_fallback=True,
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return LlamaTokenizerFast.from_pretrained(str(folder), legacy=True, add_bos_token=True)


class Bundle:
    """A packed echo program with a tokenizer and a template, opened by the engine."""

    def __init__(self, echo: Path, path: Path, tokenizer: Any, template: str | None, **fields: Any) -> None:
        self.tokenizer, self.template = tokenizer, template
        self.start = start_token(tokenizer, template)
        bos = tokenizer.bos_token if self.start is not None else None
        choice = choose_tokenizer(path.parent, tokenizer.backend_tokenizer, bos=bos)
        made = engine_template(template, tokenizer, start=self.start, spacing=choice.spacing)
        stated: dict[str, Any] = {"text_type": "gemma4_text", "stop_ids": [1], "generation": {}, "vocabulary": {}}
        metadata = llm_metadata(
            context=256, start=self.start, pad=None, template=made, tools=renders_tools(template), **(stated | fields)
        )
        pack(path, program=echo, tokenizer=choice, metadata=metadata)
        self.engine = open_engine(path)

    def ids(self, chat: list[dict[str, Any]], tools: Any) -> list[int]:
        """What the engine feeds: the start token, and what its tokenizer makes of its template's text."""
        front = [] if self.start is None else [self.start]
        return front + list(self.engine.tokenize(rendered(self.engine, chat, tools)))

    def wanted(self, chat: list[dict[str, Any]], tools: Any) -> list[int]:
        given = {"chat_template": self.template, "add_generation_prompt": True, "return_dict": False}
        return list(self.tokenizer.apply_chat_template(chat, tools=tools, **given))


@pytest.fixture(scope="module")
def bundle(echo: Path, sample: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle(echo, tmp_path_factory.mktemp("sample") / "model.litertlm", sample, TEMPLATE)


def test_the_samples_chats_have_transformers_ids(bundle: Bundle) -> None:
    lines = (SAMPLE / "golden_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    chats = [(line["messages"], line.get("tools")) for line in map(json.loads, lines) if "messages" in line]
    assert len(chats) > 10
    for chat, tools in chats + CHATS:
        assert bundle.ids(chat, tools) == bundle.wanted(chat, tools)


@pytest.mark.parametrize("text_type", ["gemma3_text", "gemma3n_text", "gemma2"])
def test_every_model_type_gets_its_tools_as_they_are(echo: Path, sample: Any, tmp_path: Path, text_type: str) -> None:
    made = Bundle(echo, tmp_path / "model.litertlm", sample, TEMPLATE, text_type=text_type)
    for chat, tools in CHATS:
        assert made.ids(chat, tools) == made.wanted(chat, tools)


@pytest.mark.parametrize(
    ("template", "count"),
    [
        (_TEMPLATE, 3),  # it would print the mapping of a tool's reply as Python does
        (HARD, 4),
        (TEMPLATE.replace("{{- '<bos>' -}}", "{{- bos_token -}}"), 5),
        (TEMPLATE.replace("{{- '<bos>' -}}", ""), 5),
    ],
)
def test_other_templates_render_as_in_transformers(bundle: Bundle, sample: Any, template: str, count: int) -> None:
    made = engine_template(template, sample, start=start_token(sample, template), spacing=Spacing())
    for chat, tools in CHATS[:count]:
        given = {"chat_template": template, "tokenize": False, "add_generation_prompt": True}
        wanted = sample.apply_chat_template(chat, tools=tools, **given)
        assert rendered(bundle.engine, chat, tools, made) == wanted.removeprefix("<bos>")


def test_llama_2_has_transformers_ids(echo: Path, llama: Any, tmp_path: Path) -> None:
    made = Bundle(echo, tmp_path / "model.litertlm", llama, LLAMA, text_type="llama")
    assert made.start == llama.bos_token_id
    for chat in ([USER], CHATS[1][0], [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a"}, USER]):
        assert made.ids(chat, None) == made.wanted(chat, None)
    with pytest.raises(RuntimeError):  # raise_exception
        assert made.engine.create_conversation(messages=[USER]).send_message(USER)


@pytest.mark.parametrize("kind", ["sample", "llama"])
def test_a_base_model_gets_the_text_alone(
    echo: Path, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(kind)
    made = Bundle(echo, tmp_path / "model.litertlm", tokenizer, None)
    chat = [{"role": "user", "content": "Once  upon\n🙂"}]
    assert made.ids(chat, None) == tokenizer(chat[0]["content"]).input_ids
    assert made.start == tokenizer.bos_token_id


def test_a_conversation_goes_on_and_stops(echo: Path, sample: Any, tmp_path: Path) -> None:
    """The echo says the prompt again, and so the first turn's end, which is a stop token."""
    made = Bundle(echo, tmp_path / "model.litertlm", sample, TEMPLATE, stop_ids=[6, 1])
    assert made.engine.bos_token_id == 2
    assert made.engine.eos_token_ids == [[1], [6]]
    with made.engine.create_conversation(sampler_config=greedy(), max_output_tokens=40) as conversation:
        for text in ("Hi 🙂", "and on"):
            answer = conversation.send_message({"role": "user", "content": text})
            assert str(answer) == "<bos><|turn>user\nHi 🙂"


def test_functiongemma_gets_its_tools_as_they_are(echo: Path, sample: Any, tmp_path: Path) -> None:
    template = (TEMPLATES / "functiongemma.jinja").read_text(encoding="utf-8")
    made = Bundle(echo, tmp_path / "model.litertlm", sample, template, text_type="gemma3_text")
    for chat, tools in CHATS[:4]:
        assert made.ids(chat, tools) == made.wanted(chat, tools)


def test_functiongemmas_calls_are_read_by_the_engine(echo: Path, sample: Any, tmp_path: Path) -> None:
    """The echo says the user's words again, which are a call."""
    template = "{{ bos_token }}{% if not tools %}" + CALLING + "{% endif %}{{ messages[-1]['content'] }}"
    made = Bundle(echo, tmp_path / "model.litertlm", sample, template, text_type="gemma3_text")
    call = "<start_function_call>call:get_weather{city:<escape>Oslo, {N}<escape>,days:3}<end_function_call>"
    with made.engine.create_conversation(
        sampler_config=greedy(), tools=declared(TOOLS), automatic_tool_calling=False, max_output_tokens=90
    ) as conversation:
        answer = conversation.send_message({"role": "user", "content": call + "<|turn>"})
    (found,) = answer["tool_calls"]
    assert found["function"] == {"name": "get_weather", "arguments": {"city": "Oslo, {N}", "days": 3}}


def test_a_request_for_greedy_goes_before_the_files_sampling(echo: Path, sample: Any, tmp_path: Path) -> None:
    hot = {"do_sample": True, "temperature": 90.0}
    made = Bundle(echo, tmp_path / "model.litertlm", sample, TEMPLATE, stop_ids=[6], generation=hot)
    asked = {True: greedy(), False: None}
    answers = {}
    for name, config in asked.items():
        with made.engine.create_conversation(sampler_config=config, max_output_tokens=8) as conversation:
            answers[name] = str(conversation.send_message({"role": "user", "content": "Hi"}))
    assert answers[True] == "<bos><|turn>user\nHi"
    assert answers[False] != answers[True]


def test_fields_say_what_the_engine_needs() -> None:
    vocabulary = {"<|channel>": 5, "<channel|>": 6}
    made = llm_metadata_pb2.LlmMetadata.FromString(
        llm_metadata(
            text_type="gemma4_text",
            context=2048,
            stop_ids=[106, 1, 50, 1],
            start=2,
            pad=0,
            template="x",
            tools=True,
            generation={"do_sample": True, "top_k": 64, "top_p": 0.95, "suppress_tokens": [9, 7]},
            vocabulary=vocabulary,
        )
    )
    assert [list(token.token_ids.ids) for token in made.stop_tokens] == [[1], [50], [106]]
    assert list(made.start_token.token_ids.ids) == [2]
    assert list(made.pad_token.token_ids.ids) == [0]
    assert made.max_num_tokens == 2048
    assert made.sampler_params.type == sampler_params_pb2.SamplerParameters.TOP_P
    assert (made.sampler_params.k, made.sampler_params.temperature) == (64, 1.0)
    assert made.sampler_params.p == pytest.approx(0.95)
    assert list(made.suppress_tokens.ids) == [7, 9]
    assert [(c.channel_name, c.start, c.end) for c in made.channels] == [
        ("thought", "<|channel>thought\n", "<channel|>")
    ]
    assert made.supports_thinking
    assert made.supports_function_calling
    assert made.llm_model_type.WhichOneof("model_type") == "gemma4"


def test_what_a_model_has_not_is_left_out() -> None:
    made = llm_metadata_pb2.LlmMetadata.FromString(
        llm_metadata(
            text_type="llama",
            context=64,
            stop_ids=[2],
            start=None,
            pad=None,
            template="x",
            tools=False,
            generation={"do_sample": False, "top_k": 64},
            vocabulary={},
        )
    )
    for field in ("start_token", "pad_token", "sampler_params", "prompt_templates"):
        assert not made.HasField(field)
    assert not made.channels
    assert not made.suppress_tokens.ids
    assert made.HasField("supports_thinking")
    assert not made.supports_thinking
    assert made.llm_model_type.WhichOneof("model_type") == "generic_model"


def test_types_follow_what_the_engine_does_to_tools() -> None:
    assert [engine_type(name, False) for name in ("gemma", "gemma2", "gemma3_text", "gemma3n_text", "llama")] == [
        "generic_model",
        "generic_model",
        "gemma3",
        "gemma3n",
        "generic_model",
    ]
    assert [engine_type(name, True) for name in ("gemma3_text", "gemma3n_text", "gemma4_text")] == [
        "generic_model",
        "generic_model",
        "gemma4",
    ]
    assert engine_type("gemma3_text", True, CALLING) == "function_gemma"
    assert engine_type("gemma3_text", False, CALLING) == "gemma3"
    assert renders_tools(TEMPLATE)
    assert not renders_tools(_TEMPLATE)
    assert not renders_tools(None)


def test_the_start_token_is_what_the_model_really_gets(sample: Any) -> None:
    turns = "{% for m in messages %}<|turn>{{ m.content }}{% endfor %}"
    assert start_token(sample, TEMPLATE) == 2
    assert start_token(sample, "{{ bos_token }}" + turns) == 2
    assert start_token(sample, turns) is None
    assert start_token(sample, None) == 2
    bare = AutoTokenizer.from_pretrained(SAMPLE, add_bos_token=False)
    assert start_token(bare, None) is None
    bare.bos_token = None
    assert start_token(bare, TEMPLATE) is None


SNIPPETS = [
    "{{ d.get('b') }}{{ d.get('zz') }}{{ d.get('zz', 'q') }}{% for k, v in d.items() %}{{ k }}{% endfor %}",
    "{{ d.keys() | join }}{{ d.values() | list | length }}{{ d.o.k.upper() }}{{ 'a b'.title() }}{{ 'x'.capitalize() }}",
    "{{ nul is none }}{{ d.zz is none }}{{ nul is not none }}{{ nul is iterable }}{{ s is sequence }}",
    "{{ d is sequence }}{{ true is number }}{{ d.zz is sequence }}{{ 'a' ~ nul ~ true }}{{ nul or d.t }}",
    "{{ nul }}{{ d.t }}{{ d.zz }}{{ d.t if d.t else 'x' }}{{ nul | trim }}{{ d.t and nul }}{{ d.n | default('x') }}",
    "{{ d | tojson }}{{ d | tojson(indent=2) }}{{ [] | tojson(indent=1) }}{{ d.l | tojson(ensure_ascii=False) }}",
    "{{ s.split(',')[1] }}{{ s.split(',', 1)[-1] }}{{ s.split() | length }}",
    "{% for x in s.split(',') %}{{ x }};{% endfor %}{{ s.split('(')[0].split(',') | last }}",
    "{{ s.strip('a') }}{{ ' x '.lstrip() }}|{{ ' x '.rstrip() }}|{{ s.lstrip('a,') }}{{ s.replace(',', '(') }}",
    "{{ s.startswith('a') }}{{ s.endswith('(') }}{{ not s.startswith('x') }}{{ ', '.join(d.l[:2] | map('string')) }}",
    "{{ '%s of %s' % ('a', 'b') }}{{ '%s' % s }}{{ '%s'|format(s) }}{{ 1 < 2 < 3 }}{{ 3 > 2 > 2 }}{{ -d.b }}",
    "{{ 'a\\nb' | indent(first=True) }}{{ nul | default('x', boolean=True) }}{{ d.zz | default('y') }}",
    "{{ d.zz | length }}{{ d.zz | items | list | length }}{{ d.l | first }}{{ d.l | last | length }}",
    "{{ l | selectattr('k', 'none') | list | length }}{{ l | rejectattr('k', 'equalto', 1) | list | length }}",
    "{% filter upper | trim %} a {% endfilter %}{% with a=1 %}{{ a }}{% endwith %}{% set ns = namespace(n=0) %}"
    "{% for x in d.l %}{% set ns.n = ns.n + loop.index %}{% else %}no{% endfor %}{{ ns.n }}",
    "{% macro m(a, b='z') %}{{ a }}{{ b }}{{ caller('q') if caller }}{% endmacro %}{{ m(1) }}{{ m(b=2, a=3) }}"
    "{% call(x) m('c') %}<{{ x }}>{% endcall %}",
    "  {% if true %}\n  kept\n  {% endif %}\n{{- ' \\t' }}\n{% raw %}{{ '{%' }}{% endraw %}\"\\ '\n\n",
    "{{ d['l'][0] }}{{ d.l[-1] }}{{ d.l[::-1] | first }}{{ s[1:3] }}{{ {'k': (1, 'é')}.k[1] }}{{ 1 if d.zz }}",
    "{% set a, b = d.l[0], s %}{{ a }}{{ b }}{% set q %}{{ s }}{{ s }}{% endset %}{{ q }}{{ 7 // 2 }}",
    "{{ '.strip() {% generation %} .split(x)[0]' }} .items() .join(x) {{ '\\u00e9' }}",
    "{% for x in l recursive %}{{ x.k }}{% if not loop.last %}{{ loop(l[2:]) }}{% endif %}{% endfor %}",
]
CONTEXT = {
    "d": {"b": 1, "a": "x", "n": None, "t": True, "l": [1, 2.5, "s", [], {}], "o": {"k": 'é"\n'}},
    "s": "a,b(,c)",
    "nul": None,
    "l": [{"k": 1}, {"k": None}, {"k": 3}],
}


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_rewritten_snippets_render_as_in_jinja(bundle: Bundle, snippet: str) -> None:
    chat = [{"role": "user", "content": "x"}]
    wanted = render_jinja_template([chat], chat_template=snippet, **CONTEXT)[0][0]
    assert rendered(bundle.engine, chat, None, rewrite(snippet)[0], **CONTEXT) == wanted


@pytest.mark.parametrize(
    ("snippet", "said"),
    [
        ("{% for x in messages %}\n{% break %}{% endfor %}", "line 2: LiteRT-LM's Jinja has no {% break %}"),
        ("{% include 'x' %}", "{% include %}"),
        ("{{ messages | wordcount }}", "| wordcount"),
        ("{{ messages is callable }}", "is callable"),
        ("{{ 'a'.encode() }}", ".encode()"),
        ("{{ 'a'.replace('a', 'b', 1) }}", ".replace(…, …, …)"),
        ("{{ messages | tojson(sort_keys=True) }}", "| tojson"),
        ("{{ joiner() }}", "joiner"),
        ("{{ range(*messages) }}", "* or **"),
        ("{% set x | trim %}a{% endset %}", "{% set … | filter %}"),
    ],
)
def test_what_the_engine_has_no_way_to_do_is_said(snippet: str, said: str) -> None:
    with pytest.raises(UnsupportedError) as raised:
        rewrite(snippet)
    assert said in raised.value.message
    assert "--chat-template" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("{{ messages[0].content }}", '[{"type": "text", "text": "x"}]'),  # issue 3688: lists, whatever was sent
        ("{{ messages[0].zz is none }}{{ nul is none }}", "truefalse"),
        ("{{ ', '.join(['a']) }}", ',["a"] '),
        ("{{ d.t }}{{ nul }}", "truenone"),
        ("{{ d.get('b') }}", ""),  # refused
    ],
)
def test_the_engine_still_needs_all_this(bundle: Bundle, source: str, wrong: str) -> None:
    """Fails once LiteRT-LM mends what `rewrite` and `engine_template` are there for."""
    assert rendered(bundle.engine, [{"role": "user", "content": "x"}], None, source, **CONTEXT) == wrong
