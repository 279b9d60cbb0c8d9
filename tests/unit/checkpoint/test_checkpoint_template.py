"""Chat templates: the model's own, a given one, none; and templates that can't be trusted or don't render."""

from __future__ import annotations

import json

import pytest
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.errors import CheckpointError, UsageError

PLAIN = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}"


def opened(folder, template):
    (folder / "chat_template.jinja").write_text(template)
    return open_checkpoint(str(folder))


def refused(folder, template, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        opened(folder, template)
    assert caught.value.exit_code == 3
    assert "--chat-template" in caught.value.hint
    return caught.value


def test_missing_template_names_the_flag_and_none(fresh):
    folder = fresh()
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match=r"no chat template.*--chat-template FILE.*none") as caught:
        open_checkpoint(str(folder))
    assert caught.value.exit_code == 3


def test_none_is_for_base_models(fresh):
    folder = fresh()
    (folder / "chat_template.jinja").unlink()
    checkpoint = open_checkpoint(str(folder), chat_template="none")
    assert checkpoint.chat_template is None
    assert "chat_template.jinja" not in checkpoint.hashes


def test_given_file_wins_over_the_models_own(fresh, tmp_path):
    given = tmp_path / "mine.jinja"
    given.write_text(PLAIN)
    checkpoint = open_checkpoint(str(fresh()), chat_template=str(given))
    assert checkpoint.chat_template == PLAIN
    assert any("mine.jinja" in note for note in checkpoint.notes)


def test_given_file_that_is_not_there_or_no_text_is_a_usage_error(fresh, tmp_path):
    folder = fresh()
    with pytest.raises(UsageError, match=r"--chat-template .*absent\.jinja can't be read") as caught:
        open_checkpoint(str(folder), chat_template=str(tmp_path / "absent.jinja"))
    assert caught.value.exit_code == 2
    (tmp_path / "bytes.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is not UTF-8"):
        open_checkpoint(str(folder), chat_template=str(tmp_path / "bytes.jinja"))


def test_given_file_is_checked_like_the_models_own(fresh, tmp_path):
    given = tmp_path / "mine.jinja"
    given.write_text(PLAIN + "{{ ''.__class__ }}")
    with pytest.raises(CheckpointError, match=r"mine\.jinja, line 2, reaches for Python's internals: \.__class__"):
        open_checkpoint(str(fresh()), chat_template=str(given))


@pytest.mark.parametrize("where", ["tokenizer_config.json", "chat_template.json"])
def test_template_is_found_where_older_checkpoints_keep_it(fresh, edit_json, where):
    folder = fresh()
    (folder / "chat_template.jinja").unlink()
    if where == "chat_template.json":
        (folder / where).write_text("{}")
    edit_json(folder / where, chat_template=PLAIN)
    assert open_checkpoint(str(folder)).chat_template == PLAIN


def test_named_templates_take_the_default(fresh, edit_json):
    folder = fresh()
    (folder / "chat_template.jinja").unlink()
    named = [{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": PLAIN + "tools"}]
    edit_json(folder / "tokenizer_config.json", chat_template=named)
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.chat_template == PLAIN
    assert "chat templates left out: tool_use" in checkpoint.notes


@pytest.mark.parametrize(
    ("reach", "spelt"),
    [
        ("{{ ''.__class__.__mro__ }}", r"\.__"),
        ("{{ messages['__class__'] }}", r"\['__class__'\]"),
        ("{{ messages|attr('__init__') }}", r"\|attr\('__init__'\)"),
        ("{{ messages|map(attribute='__class__')|list }}", "'__class__'"),
        ("{{ messages|map('attr', '__class__')|list }}", "'__class__'"),
        ("{% set x = namespace() %}{% set x.__globals__ = 1 %}", r"__globals__"),
        ("{% if false %}{{ cycler.__init__.__globals__.os }}{% endif %}", r"\.__"),
        ("{{ '{0.__class__}'.format(1) }}", "__class__"),
        ("{{ messages._hidden }}", r"\._hidden"),
        ("{{ __builtins__ }}", "__builtins__"),
    ],
)
def test_reach_for_pythons_internals_is_found_with_its_line(fresh, reach, spelt):
    refused(fresh(), f"{PLAIN}\n\n{reach}", rf"chat_template\.jinja, line 4, reaches .*internals: .*{spelt}")


def test_reach_that_is_put_together_at_run_time_is_stopped_by_the_sandbox(fresh):
    refused(
        fresh(),
        PLAIN + "\n{{ (messages|attr('__cla' ~ 'ss__')).mro() }}",
        r"chat_template\.jinja, line 3, reaches for Python's internals: .*__class__",
    )


def test_template_that_changes_what_it_is_given_is_stopped(fresh):
    refused(fresh(), PLAIN + "{{ messages.append(1) }}", r"line 2, reaches for Python's internals")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}\n{{ m['content'] ", r"line 2, is not Jinja"),
        ("{% frobnicate %}", r"line 1, is not Jinja: Encountered unknown tag 'frobnicate'"),
        (PLAIN + "\n{{ missing.name }}", r"line 3, doesn't render: 'missing' is undefined"),
        (PLAIN + "{{ 1 // 0 }}", r"line 2, doesn't render: ZeroDivisionError"),
        (PLAIN + "{% for i in range(10**9) %}{% endfor %}", r"line 2, doesn't render: OverflowError"),
        ("{{ raise_exception('no chats today') }}", r"refuses a plain chat: no chats today"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", r"doesn't render: RecursionError"),
        ("{{ bos_token }}hello", "leaves the user's words out"),
        ("{{ messages[-1]['content'] }}", "leaves the model's answers out"),
    ],
)
def test_template_that_does_not_render_is_refused_at_opening(fresh, template, message):
    refused(fresh(), template, message)


def test_template_without_a_system_turn_is_noted(fresh):
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system turns') }}{% endif %}"
    checkpoint = opened(fresh(), refusing + PLAIN)
    assert "the chat template takes no system turn: No system turns" in checkpoint.notes


def test_template_that_drops_a_system_turn_without_a_word_is_noted(fresh):
    silent = "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}{% endfor %}"
    assert "the chat template takes no system turn: it leaves its words out" in opened(fresh(), silent).notes
    assert not any("no system turn" in note for note in opened(fresh("gemma4_text"), PLAIN).notes)


def test_tags_that_transformers_knows_are_allowed(fresh):
    template = "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% continue %}{% endfor %}"
    checkpoint = opened(fresh(), template)
    text = checkpoint.tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], chat_template=checkpoint.chat_template, tokenize=False
    )
    assert text == "hi"


def test_templates_of_the_random_checkpoints_end_with_the_models_turn(pristine):
    checkpoint = open_checkpoint(str(pristine("gemma3_text")))
    text = checkpoint.tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}],
        chat_template=checkpoint.chat_template,
        tokenize=False,
        add_generation_prompt=True,
    )
    assert text == "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n"
    assert json.loads((checkpoint.path / "tokenizer.json").read_text())["model"]["byte_fallback"]


CHANGES = [
    ("{{ m.content | upper }}", "GEMCUT PROBE 7", "GEMCUT ANSWER 11", "GEMCUT SYSTEM 13"),
    ("{{ m.content | replace('gemcut ', '') }}", "probe 7", "answer 11", "system 13"),
    ("{{ m.content.split(' ')[0] }}", "gemcut", "gemcut", "gemcut"),
    ("{{ m.content | replace('e', '3') }}", "g3mcut prob3 7", "g3mcut answ3r 11", "g3mcut syst3m 13"),
    ("{{ m.content | reverse }}", "7 eborp tucmeg", "11 rewsna tucmeg", "31 metsys tucmeg"),
]


@pytest.mark.parametrize(("expression", "asked", "answered", "instructed"), CHANGES)
def test_what_a_template_makes_of_words_is_shown(fresh, expression, asked, answered, instructed):
    template = f"{{% for m in messages %}}<{{{{ m.role }}}}>{expression}</>{{% endfor %}}<assistant>"
    notes = opened(fresh(), template).notes
    assert f"the chat template changes the user's words: 'gemcut probe 7' becomes {asked!r}" in notes
    assert any(note.startswith("the chat template changes the model's answers: ") for note in notes)
    assert any(note.startswith("the chat template changes a system turn's words: ") for note in notes)
    assert answered in " ".join(notes)
    assert instructed in " ".join(notes)
