import datetime
from collections.abc import Callable
from pathlib import Path

import gemcut.sample
import pytest
from gemcut.errors import CheckpointError
from gemcut.prompt.chats import encode_prompt
from gemcut.prompt.codec import PROOF_DATE, ChatCodec, Template, TemplateRefused, load_codec
from gemcut.prove.prompts import built_in_prompts

SAMPLE = Path(gemcut.sample.__file__).parent / "model"
# What published templates use of Jinja: loop controls, namespaces, macros, tojson, raise_exception, dates.
FEATURES = """\
{%- set ns = namespace(seen=0, self=1) -%}
{%- macro show(m) -%}[{{ m.role }}|{{ m.content | trim }}]{%- endmacro -%}
{{ bos_token }}{{ dict(a=1) | tojson }}
{% if tools is not none %}
  {{ tools | tojson(indent=2) }}
{% endif %}
{% for message in messages %}
    {% if message.role == 'skip' %}{% continue %}{% endif %}
    {% if ns.seen >= 3 %}{% break %}{% endif %}
    {% set ns.seen = ns.seen + 1 %}
    {% generation %}{{ show(message) }}{% endgeneration %}
{% endfor %}
<&'é"> {{ messages | tojson }} {{ messages[-1].get('reasoning_content', '') }}{{ messages[-1].thinking }}
{% if add_generation_prompt %}{{ eos_token }}>{% endif %}
"""
MESSAGES = [
    {"role": "user", "content": "  <b>é&amp;'\n"},
    {"role": "skip", "content": "no"},
    {"role": "assistant", "content": "你好", "reasoning": "hm"},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"z": 1, "a": [None, True]}}}]


@pytest.mark.parametrize("tools", [None, TOOLS])
@pytest.mark.parametrize("asked", [True, False])
def test_renders_what_transformers_renders(tools: list[dict[str, object]] | None, asked: bool) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    tokens = {"bos_token": "<bos>", "eos_token": "<eos>"}
    theirs, _ = render_jinja_template(
        [MESSAGES], tools=tools, chat_template=FEATURES, add_generation_prompt=asked, **tokens
    )
    assert Template(FEATURES, tokens).render(MESSAGES, tools, asked) == theirs[0]


def test_sample_gives_the_text_and_ids_of_transformers() -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(SAMPLE)
    source = (SAMPLE / "chat_template.jinja").read_text()
    ours = load_codec(SAMPLE / "tokenizer.json", source, dict(theirs.special_tokens_map))
    assert ours.special_ids >= set(theirs.all_special_ids)
    for prompt in built_in_prompts():
        text, ids = encode_prompt(ours, prompt)
        arguments = {"tools": list(prompt.tools) or None, "add_generation_prompt": True}
        assert text == theirs.apply_chat_template(list(prompt.messages), tokenize=False, **arguments), prompt.id
        assert ids == theirs.apply_chat_template(list(prompt.messages), tokenize=True, **arguments)["input_ids"]
        assert ours.decode(ids) == theirs.decode(ids)


def test_a_dated_template_renders_alike_on_any_day() -> None:
    source = "Today is {{ strftime_now('%d %b %Y') }}."
    assert Template(source).render([]) == f"Today is {PROOF_DATE.strftime('%d %b %Y')}."
    today = datetime.datetime.now().strftime("%Y")
    assert today in Template(source, now=None).render([])


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% set ns = namespace(__x=1) %}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ dict.__init__.__globals__ }}",
    ],
)
def test_a_template_that_reaches_for_pythons_internals_is_refused(source: str) -> None:
    with pytest.raises(CheckpointError, match="reaches for Python's internals") as caught:
        Template(source).render([{"role": "user", "content": "x"}])
    assert not isinstance(caught.value, TemplateRefused)
    assert "--chat-template" in str(caught.value.hint)


def test_a_template_that_is_not_jinja_names_the_line() -> None:
    with pytest.raises(CheckpointError, match="line 2"):
        Template("fine\n{% if %}")


@pytest.mark.parametrize("source", ["{{ raise_exception('no system') }}", "{{ nothing.at.all }}", "{{ 1 / 0 }}"])
def test_a_template_that_cannot_take_a_chat_says_so(source: str) -> None:
    with pytest.raises(TemplateRefused):
        Template(source).render([])


def test_a_tokenizer_that_is_damaged_is_named(tmp_path: Path, make_codec: Callable[..., ChatCodec]) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        load_codec(tmp_path / "tokenizer.json", None)
    with pytest.raises(TemplateRefused):
        make_codec(None).render([], None, True)
