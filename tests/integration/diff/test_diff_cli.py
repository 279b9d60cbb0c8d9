"""``gemcut diff`` as a user and a CI meet it."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema
import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.cli import documents, main
from gemcut.diff.outcome import outcome

from tests.support.command import gemcut
from tests.support.diff_variants import Variant, compare, other_outputs, read, spoiled
from tests.support.exports import Exported

DOCS = Path(__file__).parents[3] / "docs" / "guides" / "diff.md"
TEMPLATE = "chat_template.jinja"


@pytest.fixture
def worse(sample_int4: Exported, variant: Variant) -> Path:
    """Tool calls broken, two BOS, one stop token fewer."""
    files = other_outputs(sample_int4.path, spoiled)
    files[TEMPLATE] = b"{{ bos_token }}" + read(sample_int4.path, TEMPLATE)
    return variant(sample_int4.path, "worse", files, {"stop_ids": (1,)})


def test_same_bundle_says_so(sample_int4: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(sample_int4.path), str(sample_int4.path)]) == 0
    shown = capsys.readouterr()
    assert "nothing differs" in shown.out
    assert shown.out.endswith("verdict: same\n")


def test_what_changed_and_why_it_matters_is_shown(
    sample_int4: Exported, worse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(sample_int4.path), str(worse)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "2 BOS tokens instead of 1",
        "+{{ bos_token }}",
        "'<bos><bos>",
        "stop_ids 1, 6 -> 1",
        "NOT exact",
        "replies no longer end at 6",
        "call:x_",
        "verdict: matters: stop, template",
    ):
        assert words in shown, words
    assert max(map(len, shown.splitlines())) <= 240


def test_other_float_models_are_told_before_any_figure(
    sample_int4: Exported, variant: Variant, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_bundle(sample_int4.path) as bundle:
        model = bundle.manifest.model
    weights = {name: "0" * 64 if name.endswith(".safetensors") else digest for name, digest in model.files.items()}
    trained = variant(
        sample_int4.path, "trained", manifest={"model": model.model_copy(update={"files": weights, "name": "v2"})}
    )
    assert main(["diff", str(sample_int4.path), str(trained)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        f"A and B were made from different float models ({model.name} and v2): each bundle's fidelity is measured "
        "against its own, so better figures don't mean a better model."
    )
    found = compare(sample_int4.path, trained)
    assert found.float_models == first
    assert first in outcome(found).notes
    renamed = variant(sample_int4.path, "renamed", manifest={"model": model.model_copy(update={"name": "v2"})})
    assert compare(sample_int4.path, renamed).float_models is None
    assert main(["diff", str(sample_int4.path), str(renamed)]) == 0
    assert "float models" not in capsys.readouterr().out


def test_what_users_notice_stands_beside_the_figures(
    sample_int4: Exported, worse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(sample_int4.path, worse)
    assert (found.behaviour.grade_a.name, found.behaviour.grade_b.name) == ("unnoticed", "broken")
    assert found.behaviour.grade_b.because == ("tool_calls",)
    assert main(["diff", str(sample_int4.path), str(worse)]) == 0
    assert re.search(r"fidelity\s+users won't notice\s+broken", capsys.readouterr().out)


def test_document_has_all_of_it(sample_int4: Exported, worse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["diff", str(sample_int4.path), str(worse), "--json", "--fail-on", "texts>0,runtime"]
    assert main(words) == 7
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["severity"] == "matters"
    assert {one["area"]: one["severity"] for one in found["changes"]}["stop"] == "matters"
    assert [(one["name"], one["passed"]) for one in found["thresholds"]] == [("texts", False), ("runtime", True)]
    assert found["passed"] is False
    assert found["behaviour"]["texts"][0]["b"].startswith("<|tool_call>call:x_")
    assert "failed: texts>0: " in shown.err
    jsonschema.validate(found, documents._schema(type(compare(sample_int4.path, worse))))


def test_a_passed_limit_is_exit_code_7_and_a_kept_one_0(sample_int4: Exported, worse: Path) -> None:
    done = gemcut("diff", sample_int4.path, worse, "--fail-on", "size>+5%", "--fail-on", "stop,tool_calls<-0.0")
    assert done.returncode == 7, done.stderr
    assert done.stderr.count("failed: ") == 2
    assert re.search(r"kept\s+size>\+5%", done.stdout)
    assert re.search(r"NOT kept\s+stop", done.stdout)
    assert gemcut("diff", sample_int4.path, worse, "--fail-on", "size>+5%,tokenizer").returncode == 0


@pytest.mark.parametrize("side", [0, 1])
def test_a_flipped_byte_is_exit_code_6(side: int, sample_int4: Exported, variant: Variant) -> None:
    damaged = variant(sample_int4.path, "damaged")
    program = damaged / "model.pte"
    data = bytearray(program.read_bytes())
    data[len(data) // 2] ^= 1
    program.write_bytes(data)
    both = [sample_int4.path, damaged]
    done = gemcut("diff", *(both if side else reversed(both)), "--json")
    assert done.returncode == 6
    error = json.loads(done.stdout)["error"]
    assert "model.pte was changed" in error["message"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{a}"], "Missing argument 'B'"),
        (["{a}", "{a}", "--fail-on", "siez>+5%"], "did you mean 'size'"),
        (["{a}", "{a}", "--fail-on", "size>5%"], "a percentage needs a sign"),
        (["{a}", "no/such"], "there is no"),
        (["{a}", "{folder}"], "is not a bundle"),
        (["{a}", "{a}", "{a}"], "unexpected extra argument"),
    ],
)
def test_wrong_words_are_exit_code_2(words: list[str], said: str, sample_int4: Exported, tmp_path: Path) -> None:
    done = gemcut("diff", *(word.format(a=sample_int4.path, folder=tmp_path) for word in words))
    assert done.returncode == 2
    assert said in done.stderr
    assert "hint: " in done.stderr


def test_help_names_every_figure_and_area() -> None:
    from gemcut.diff.document import AREAS
    from gemcut.diff.thresholds import FIGURES

    done = gemcut("diff", "--help")
    assert done.returncode == 0
    for name in (*FIGURES, *AREAS):
        assert re.search(rf"^  {name}  ", done.stdout, re.MULTILINE), name


def test_on_a_terminal_of_80_columns_nothing_is_cut_off(sample_int4: Exported, worse: Path) -> None:
    """Replies, folded into their column, still have all of their characters."""
    code = f"""
import fcntl, struct, sys, termios
fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
from gemcut.cli import main
sys.exit(main(["diff", {str(sample_int4.path)!r}, {str(worse)!r}]))
"""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "PYTHONUTF8": "1"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=follower, stderr=subprocess.DEVNULL, env=environment):
        os.close(follower)
        shown = bytearray()
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # Linux says EIO where the other end is gone
                break
            if not part:
                break
            shown += part
    os.close(leader)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    tables = lines[: next(i for i, line in enumerate(lines) if line.startswith("chat template"))]
    assert max(map(len, tables)) <= 80
    start = next(i for i, line in enumerate(lines) if line.split() == ["reply", "to", "A", "B"])
    end = next(i for i, line in enumerate(lines[start:], start) if "more replies differ" in line)
    assert max(map(len, lines[start:end])) <= 80
    column = "".join(line[lines[start].index("B") :].strip() for line in lines[start + 2 : end])
    first = compare(sample_int4.path, worse).behaviour.texts[0]
    assert "".join(first.b.split()) in "".join(column.split())


def test_outcome_has_a_finding_for_each_limit_and_area(sample_int4: Exported, worse: Path) -> None:
    found = compare(sample_int4.path, worse, "size>+50%", "texts>0", "tool_calls<-0.0")
    made = outcome(found, {"Comparing files": 0.5})
    findings = {one.rule: one for one in made.findings}
    assert (made.action, made.state, made.passed) == ("diff", "failed", False)
    assert (findings["diff.size"].passed, findings["diff.size"].limit) == (True, 0.5)
    assert (findings["diff.texts"].passed, findings["diff.texts"].exit_code) == (False, 7)
    assert findings["diff.texts"].prompt == found.behaviour.texts[0].prompt
    assert findings["diff.tool_calls"].measured == -1.0
    assert findings["diff.template"].passed  # it matters, but no limit is on it
    assert "matters" in findings["diff.template"].message
    assert len(made.findings) == len(findings) == len(found.changes)
    assert {one.rule for one in made.failures} == {"diff.texts", "diff.tool_calls"}


def test_reports_hold_what_was_found(sample_int4: Exported, worse: Path, tmp_path: Path) -> None:
    junit, sarif, summary = (tmp_path / name for name in ("junit.xml", "out.sarif", "summary.md"))
    words = ("--fail-on", "texts>0,size>+50%", "--junit", junit, "--sarif", sarif, "--summary", summary)
    assert gemcut("diff", sample_int4.path, worse, *words).returncode == 7
    failed = [
        case.get("name") for case in ElementTree.parse(junit).iter("testcase") if case.find("failure") is not None
    ]
    assert len(failed) == 1
    assert "texts" in str(failed[0])
    results = json.loads(sarif.read_text())["runs"][0]["results"]
    assert [one["ruleId"] for one in results if one.get("kind", "fail") == "fail"] == ["diff.texts"]
    told = summary.read_text()
    assert "diff: texts" in told
    assert "replies differ" in told


def test_commands_of_the_docs_do_what_they_say(sample_int4: Exported, sample_litert: Exported, tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    for name, sample in (("executorch", sample_int4), ("litert", sample_litert)):
        (tmp_path / "bundles" / f"sample-android-arm64-{name}").symlink_to(sample.path, target_is_directory=True)
    blocks = re.findall(r"^```sh\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    assert len(commands) >= 2
    for program, *words in commands:
        assert program == "gemcut"
        done = gemcut(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_docs_name_every_figure_and_area() -> None:
    from gemcut.diff.document import AREAS
    from gemcut.diff.thresholds import FIGURES

    named = set(re.findall(r"`(\w+)`", DOCS.read_text()))
    assert {*AREAS, *FIGURES} <= named
