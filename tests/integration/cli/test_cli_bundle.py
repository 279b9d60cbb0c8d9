"""``inspect``, ``bench`` and ``chat`` on a real bundle of a tiny program."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gemcut.cli import main

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_inspect_shows_what_is_in_the_bundle(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle), "--all"]) == 0
    shown = capsys.readouterr()
    for word in (
        "follows",
        "linux-x86_64",
        "aten::embedding.out",
        "model.pte",
        "tokenizer.json",
        "mean KL",
        "97.00%",
        "embedding",
        "a note [on] it",
        "single bos",
        "executorch 1.0.1, the oldest known",
    ):
        assert word in shown.out
    assert shown.err == ""


def test_inspect_begins_with_ten_facts_and_stops_there(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle(cache_bytes=2_000_000)
    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [re.split(r"\s{2,}", line.rstrip(), maxsplit=1) for line in lines[2:12]]
    facts = {row[0]: row[1] for row in rows}
    assert list(facts) == [
        "model",
        "licence",
        "made for",
        "runs on",
        "size",
        "memory",
        "context",
        "fidelity",
        "behaviour",
        "proven",
    ]
    assert facts["model"] == "follows (gemma3_text, 144 parameters)"
    assert facts["licence"].startswith("not known")
    assert facts["made for"] == "linux-x86_64, executorch 1.5.1, recipe float32"
    assert facts["runs on"].startswith("executorch 1.0.1 and later")
    assert facts["memory"].startswith("at least 2.0 MB: 576 B of weights and 2.0 MB of KV cache")
    assert facts["fidelity"] == (
        "users will notice (tool calls like the float model's 87.50%): worth it where only the size counts"
    )
    assert facts["behaviour"] == "every check held; 87.5% of tool calls like the float model's"
    assert facts["proven"] == "on the exporting machine alone"
    assert lines[12] == "note: a note [on] it"
    assert "--all shows the rest" in lines[13]
    assert len(lines) == 14


def test_inspect_json_has_all_of_it_whatever_is_shown(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = []
    for words in (["--json"], ["--all", "--json"]):
        assert main(["inspect", str(bundle), *words]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0] == documents[1]
    assert documents[0]["grade"]["name"] == "noticed"
    assert documents[0]["grade"]["because"] == ["tool_calls"]
    assert documents[0]["manifest"]["tensors"]


def test_inspect_tells_what_is_built_into_the_runtime_from_what_is_not(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    kernels = ["aten::embedding.out", "aten::grid_sampler_2d.out", "executorch_prim::sym_not.Scalar"]
    path = make_bundle(operators=kernels[:2], kernels=kernels, delegates={"XnnpackBackend": 3})
    assert main(["inspect", str(path), "--all"]) == 0
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line)
    assert [name.strip() for name in rows["operators"].split(",")] == kernels[:2]
    assert rows["and built in"].strip() == kernels[2]
    assert "XnnpackBackend x3" in rows["delegates"]
    assert "executorch 1.4.1, the oldest known" in rows["all of them in"]


def test_inspect_names_no_release_for_a_program_that_none_can_load(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle(operators=["no::such"])
    assert main(["inspect", str(path), "--all"]) == 0
    shown = capsys.readouterr().out
    assert "no release of executorch is known to have all that it needs" in shown
    assert "the oldest known" not in shown
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["oldest_runtime"] is None


def test_inspect_reads_a_zip_as_a_directory(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle("zip")
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["format"], found["size"]) == ("zip", path.stat().st_size)


@pytest.mark.parametrize(
    "words",
    [["inspect"], ["chat", "--prompt", "hello"], ["bench", "--runs", "1", "--prompt", "4", "--threads", "1"]],
)
def test_every_command_says_loudly_that_a_bundle_is_unproven(
    words: list[str], unproven: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([words[0], str(unproven), *words[1:]]) == 0
    shown = capsys.readouterr().err
    assert "UNPROVEN" in shown
    assert "mean_kl 0.2, limit 0.05" in shown


@pytest.mark.parametrize("words", [["chat", "--prompt", "hello"], ["bench"]])
def test_a_changed_program_is_not_run(
    words: list[str], make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle()
    program = bytearray((path / "model.pte").read_bytes())
    program[len(program) // 2] ^= 1
    (path / "model.pte").write_bytes(program)
    assert main([words[0], str(path), *words[1:]]) == 6
    assert "model.pte was changed" in capsys.readouterr().err


def test_chat_reads_one_message_a_line_and_keeps_the_cache(gemcut: Run, bundle: Path) -> None:
    done = gemcut("chat", str(bundle), "--json", stdin="hello\n\nhello hello\n")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["turns"]
    assert (first["fed"], first["reused"]) == (7, 0)  # <bos> <turn> user hello <eos> <turn> model
    assert second["reused"] == 10  # and the reply's three tokens
    assert second["fed"] == 8  # <eos> <turn> user hello hello <eos> <turn> model


def test_chat_streams_the_reply_to_stdout_and_its_speed_to_stderr(gemcut: Run, bundle: Path) -> None:
    done = gemcut("chat", str(bundle), stdin="hello\nhello\n")
    assert done.stdout == "one two three\none two three\n"
    assert done.stderr.count("3 tokens") == 2
    assert "tok/s" in done.stderr


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
def test_chat_takes_bytes_that_are_no_text(bundle: Path, locale: str) -> None:
    """A file in Latin-1 on stdin, or as a word of the command line."""
    latin = "hello café".encode("latin-1")
    words = [os.fsencode(word) for word in (sys.executable, "-m", "gemcut.cli", "chat", str(bundle), "--json")]
    environment = {**os.environ, "LC_ALL": locale}
    for extra, stdin in (([], latin + b"\nhello\n"), ([b"--prompt", latin], b"")):
        done = subprocess.run([*words, *extra], input=stdin, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["turns"][0]["user"] == "hello caf\ufffd"


def test_chat_from_a_zip(make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", str(make_bundle("zip")), "--prompt", "hello"]) == 0
    assert capsys.readouterr().out == "one two three\n"


def test_chat_stops_at_the_most_tokens_asked_for(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", str(bundle), "--prompt", "hello", "--max-new-tokens", "2"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "one two\n"
    assert "cut at --max-new-tokens" in shown.err


def test_chat_says_when_the_context_is_full(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", str(bundle), "--prompt", "hello " * 140]) == 2
    shown = capsys.readouterr().err
    assert "the context is full" in shown
    assert "holds 128" in shown


def test_a_base_model_continues_text_until_its_context_is_full(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle(template=None, template_bos=False)
    assert main(["chat", str(path), "--prompt", "endless", "--json"]) == 0
    (turn,) = json.loads(capsys.readouterr().out)["turns"]
    assert turn["ended"] == "context"
    assert turn["fed"] == 2  # the BOS, which no template writes, and the word
    assert turn["reply"].split() == ["endless"] * 127


def test_a_base_model_takes_no_system_turn(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle(template=None)
    assert main(["chat", str(path), "--prompt", "one", "--system", "be brief"]) == 2
    assert "takes no system turn" in capsys.readouterr().err


def test_chat_hands_tools_to_the_template(
    make_bundle: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle(template="{% for tool in tools %}{{ tool.function.name }} {% endfor %}{{ messages[0].content }}")
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([{"type": "function", "function": {"name": name}} for name in ("one", "two")]))
    assert main(["chat", str(path), "--prompt", "model", "--tools", str(tools), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["turns"][0]["fed"] == 3
    tools.write_text('{"name": "one"}')
    assert main(["chat", str(path), "--prompt", "model", "--tools", str(tools)]) == 2


def test_bench_refuses_a_prompt_longer_than_the_context(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(bundle), "--prompt", "128"]) == 2
    assert "has a context of 128 tokens, which leaves only 127" in capsys.readouterr().err


def test_bench_is_a_table_in_llama_benchs_form(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(bundle), "-r", "2", "-p", "16", "-n", "8", "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\| model +\| size +\| runtime +\| recipe +\| threads \| test +\| +t/s \|", shown)
    assert re.search(r"\| executorch \| \S+ +\| +1 \| pp16 +\| +[\d.]+ ± [\d.]+ \|", shown)
    assert re.search(r"\| tg8 +\| +[\d.]+ ± [\d.]+ \|", shown)
    assert all(head in shown for head in ("load (s) |", "peak memory (MB) |", "own (MB) |", "mapped (MB) |"))
    assert "this machine is no phone" in shown
    assert "mulated" not in shown


def test_bench_of_two_bundles_is_a_csv_with_a_line_for_each_test(
    bundle: Path, make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_bundle("zip")
    assert main(["bench", str(bundle), str(other), "-r", "1", "-p", "0", "-n", "4", "-n", "8", "-o", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["bundle"], row["test"]) for row in rows] == [
        (str(path), test) for path in (bundle, other) for test in ("tg4", "tg8")
    ]
    assert {row["emulated"] for row in rows} == {"false"}
    assert all(float(row["tokens_per_second"]) > 0 and float(row["peak_memory"]) > 0 for row in rows)


def test_bench_tells_which_of_its_usual_lengths_do_not_fit(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(bundle), "-r", "1"]) == 0
    shown = capsys.readouterr().out
    assert "pp512 doesn't fit in its context of 128 tokens; pp127 is measured instead" in shown
    assert "| pp127" in shown
    assert "| pp512" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "0", "-n", "0"], "leave nothing to measure"),
        (["-n", "128"], "--gen 128"),
        (["--json", "-o", "csv"], "ask for two forms"),
        (["--timeout", "5"], "--timeout is for devices"),
        (["--on", "adp"], "did you mean 'adb'"),
    ],
)
def test_bench_refuses_what_means_nothing(
    words: list[str], said: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(bundle), *words]) in (2, 4)
    assert said in capsys.readouterr().err


def test_nothing_but_results_is_said_off_a_terminal_about_libraries(gemcut: Run, bundle: Path) -> None:
    done = gemcut("inspect", str(bundle), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    done = gemcut("chat", str(bundle), "--prompt", "hello", "--json")
    assert done.stderr == "Checking every byte\nLoading the program\n"
