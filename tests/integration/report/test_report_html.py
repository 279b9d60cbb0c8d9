"""The HTML report in a real browser: drawn, quiet, offline, by keyboard, dark, printed, and safe from its texts."""

from __future__ import annotations

import base64
import html.parser
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemcut.pipeline.evidence import Evidence
from gemcut.report.outcome import Outcome

pytest.importorskip("plotly", reason="plotly is not installed: pip install 'gemcut[report]'")

_NAMES = ("getAttribute('href')", "getAttribute('aria-label')", "textContent")
PLOTS = ("fidelity", "size", "delegates", "stages", "memory", "conformance", "budgets")


def _evidence(outcome: Outcome) -> Evidence:
    assert outcome.evidence is not None
    return outcome.evidence


def _settled(browser: Any) -> None:
    """Plotly draws in later frames."""
    browser.wait(lambda: browser.run("document.querySelectorAll('.plot:not(:has(svg.main-svg))').length") == 0)
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def _count(browser: Any, plot: str, mark: str) -> int:
    return int(browser.run(f"document.querySelectorAll('#{plot} {mark}').length"))


def test_every_plot_is_drawn_with_all_its_marks_and_nothing_complains(
    browser: Any, page: Path, outcomes: tuple[Outcome, ...]
) -> None:
    browser.open(page)
    _settled(browser)
    assert browser.run("document.title") == "Gemcut export: 3 of 4 failed"
    drawn = browser.run("[...document.querySelectorAll('.plot')].map(plot => plot.id)")
    assert drawn == [f"b{bundle}-plot-{plot}" for bundle in (1, 2) for plot in PLOTS]
    for bundle, outcome in ((1, outcomes[0]), (2, outcomes[1])):
        found = _evidence(outcome)
        pairs = zip(found.goldens, found.recorded, strict=True)
        wrong = sum(int((r.top1 != g.topk_ids[:, 0]).sum()) for g, r in pairs)
        assert _count(browser, f"b{bundle}-plot-fidelity", ".heatmaplayer image") == 1
        assert _count(browser, f"b{bundle}-plot-fidelity", ".scatterlayer .point") == wrong > 0
        assert _count(browser, f"b{bundle}-plot-fidelity", ".ytick text") == len(found.goldens)
        parts = 1 + len(found.manifest.files) + len(found.manifest.tensors) + 2  # the manifests; other program data
        assert _count(browser, f"b{bundle}-plot-size", ".slice") == parts
        assert _count(browser, f"b{bundle}-plot-delegates", ".bars .point") == 2
        assert _count(browser, f"b{bundle}-plot-stages", ".bars .point") == len(outcome.seconds)
        assert _count(browser, f"b{bundle}-plot-memory", ".bars .point") == len(outcome.memory)
        assert _count(browser, f"b{bundle}-plot-conformance", ".bars .point") == 2 * 3  # one couldn't be run
        assert _count(browser, f"b{bundle}-plot-budgets", ".bars .point") == 2  # one couldn't be measured
    assert browser.complaints() == []
    assert browser.requests() == []


def test_what_users_notice_stands_in_the_facts(page: Path) -> None:
    facts = re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", html.unescape(page.read_text(encoding="utf-8")))
    fidelity = [value for name, value in facts if name == "fidelity"]
    assert [value.partition(" (")[0] for value in fidelity] == ["users won't notice", "broken"]
    means = [value for name, value in facts if name == "mean KL divergence (nats)"]
    assert [value.partition(" (")[2] for value in means] == ["users won't notice)", "broken)"]


def test_the_treemap_goes_down_to_the_tensor_class(browser: Any, page: Path, outcomes: tuple[Outcome, ...]) -> None:
    browser.open(page)
    _settled(browser)
    labels = browser.run("[...document.querySelectorAll('#b1-plot-size .slicetext')].map(text => text.textContent)")
    manifest = _evidence(outcomes[0]).manifest
    for name in (manifest.program, "embedding", "mlp", "attention"):
        assert any(label.startswith(name) for label in labels), (name, labels)
    rows = browser.run(
        "[...document.querySelectorAll('#b1-plot-size ~ details tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )
    said = {row[0]: int(row[2].replace(",", "")) for row in rows}
    assert {name: said[name] for name in manifest.files} == {n: f.size for n, f in manifest.files.items()}
    assert {name: said[name] for name in manifest.tensors} == {n: t.bytes for n, t in manifest.tensors.items()}
    files = sum(f.size for f in manifest.files.values())
    assert said["bundle"] == _evidence(outcomes[0]).size >= files
    inside = sum(t.bytes for t in manifest.tensors.values()) + said["instructions and other data"]
    assert inside == said[manifest.program]


def test_texts_stand_side_by_side_and_can_do_nothing(browser: Any, page: Path, outcomes: tuple[Outcome, ...]) -> None:
    browser.open(page)
    _settled(browser)
    found = _evidence(outcomes[1])
    name = found.goldens[0].prompt.id
    pair = f"[...document.querySelectorAll('#b2 .pair')].find(p => p.querySelector('strong').textContent === '{name}')"
    ours, theirs = browser.run(f"[...{pair}.querySelectorAll('.sides pre')].map(p => p.textContent)")
    assert ours == found.goldens[0].greedy_text
    assert theirs == found.recorded[0].greedy_text.replace("\0", "\u2400").replace("\x1b", "\u241b")
    marks = browser.run(f"[...{pair}.querySelectorAll('mark')].map(p => p.textContent)")
    assert len(marks) == 2
    assert marks[0] != marks[1]
    assert len(ours.partition(marks[0])[0]) == len(theirs.partition(marks[1])[0])
    assert "differ from token 3 on" in browser.run(f"{pair}.querySelector('summary').textContent")
    assert browser.run(f"{pair}.open")
    assert browser.run("document.title") == "Gemcut export: 3 of 4 failed"
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.run("document.scripts.length") == 2 + 2 * len(PLOTS)
    assert browser.complaints() == []


def test_labels_of_plots_are_text_too(browser: Any, tmp_path: Path, outcomes: tuple[Outcome, ...]) -> None:
    from gemcut.report.formats.html import html_report

    evil = "<a href='javascript:1'>x</a><b>&lt;%{label}</script>"
    base = _evidence(outcomes[0])
    golden = replace(base.goldens[0], prompt=replace(base.goldens[0].prompt, id=evil))
    device = replace(base.devices[0], device=evil)
    odd = replace(base, goldens=(golden, *base.goldens[1:]), verdict=None, devices=(device,))
    (tmp_path / "x.html").write_text(html_report((replace(outcomes[0], evidence=odd, name=evil, seconds={evil: 1.0}),)))
    browser.open(tmp_path / "x.html")
    _settled(browser)
    assert browser.run("document.querySelectorAll('.plot a, .plot b, .plot tspan[style*=bold]').length") == 0
    ticks = browser.run("[...document.querySelectorAll('#b1-plot-stages .ytick text')].map(text => text.textContent)")
    assert [tick.replace("\u200b", "") for tick in ticks] == [evil[:37] + "..."]
    assert browser.complaints() == []
    assert browser.requests() == []


def _lightness(colour: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


def test_dark_mode_changes_the_page_and_its_plots_and_print_is_light(browser: Any, page: Path) -> None:
    def seen() -> tuple[float, float, float]:
        style = "getComputedStyle(document.documentElement)"
        tick = "getComputedStyle(document.querySelector('#b1-plot-stages .ytick text')).fill"
        return tuple(_lightness(browser.run(part)) for part in (f"{style}.backgroundColor", f"{style}.color", tick))  # type: ignore[return-value]

    browser.media("light")
    browser.open(page)
    _settled(browser)
    paper, ink, tick = seen()
    assert paper > 240
    assert ink < 60
    assert tick < 60
    for scheme, kind in (("dark", ""), ("dark", "print"), ("dark", "")):
        browser.media(scheme, kind)
        light = kind == "print"
        browser.wait(lambda light=light: (seen()[2] < 60) == light)
        paper, ink, _ = seen()
        assert (paper > 240) == light
        assert (ink < 60) == light
    assert browser.complaints() == []


def test_the_keyboard_reaches_everything(browser: Any, page: Path) -> None:
    browser.open(page)
    _settled(browser)
    active = "document.activeElement"
    browser.key("Tab", 9)
    assert browser.run(f"{active}.textContent") == "Skip to the content"
    assert browser.run(f"{active}.getBoundingClientRect().left") >= 0
    reached = []
    for _ in range(60):
        browser.key("Tab", 9)
        name = " || ".join(f"{active}.{part}" for part in _NAMES)
        reached.append(browser.run(name))
    assert reached[:4] == ["#b1", "#b2", "#b3", "#b4"]
    for table in (
        "15 of 20 checks passed",
        "Fidelity by prompt as a table",
        "Size by file and tensor class as a table",
        "Delegates as a table",
        "Time by stage as a table",
        "Every prompt on host as a table",
    ):
        assert table in reached, reached
    browser.run("[...document.querySelectorAll('summary')].find(s => s.textContent.startsWith('Time by')).focus()")
    browser.key("Enter", 13, text="\r")
    browser.wait(lambda: browser.run(f"{active}.parentElement.open") is True)
    assert browser.run("document.activeElement.parentElement.querySelectorAll('tbody tr').length") == 4


def test_it_can_be_read_without_seeing_the_plots_or_colours(browser: Any, page: Path) -> None:
    browser.open(page)
    _settled(browser)
    assert browser.run(f"{_all('.plot')}.every(p => document.getElementById(p.getAttribute('aria-labelledby')))")
    tables = "[f, f.previousElementSibling].some(e => e.querySelector('table'))"
    assert browser.run(f"{_all('figure')}.every(f => {tables})")
    assert browser.run(f"{_all('table')}.every(t => t.caption && t.querySelector('th[scope]'))")
    levels = browser.run("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert browser.run("document.documentElement.lang") == "en"
    words = browser.run("[...document.querySelectorAll('.bad, .good')].map(e => e.textContent.slice(0, 2))")
    assert set(words) == {"✗ ", "✓ "}
    hatched = browser.run("document.querySelectorAll('#b1-plot-budgets pattern').length")
    assert hatched >= 1
    ids = browser.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_a_printed_report_shows_what_was_folded_away(browser: Any, page: Path) -> None:
    browser.open(page)
    _settled(browser)
    data = base64.b64decode(browser.call("Page.printToPDF")["data"])
    assert data.startswith(b"%PDF")
    assert browser.run("[...document.querySelectorAll('.pair')].every(part => part.open)")


def _all(selector: str) -> str:
    return f"[...document.querySelectorAll('{selector}')]"


def test_memory_by_stage_is_said_in_words(browser: Any, page: Path) -> None:
    browser.open(page)
    _settled(browser)
    texts = browser.run("[...document.querySelectorAll('#b1-plot-memory .bars text')].map(text => text.textContent)")
    assert texts == ["1.5 GB", "1.2 GB", "900.0 MB", "700.0 MB"]
    assert "The process used the most memory in reference: 1.5 GB." in browser.run("document.body.textContent")


class _Outline(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [str(found[name]) for name in ("src", "href", "action", "srcset", "data") if name in found]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(found["content"])


def test_the_file_is_whole_by_itself_and_the_same_each_time(page: Path, outcomes: tuple[Outcome, ...]) -> None:
    from gemcut.report.formats.html import html_report

    text = page.read_bytes().decode()
    assert html_report(outcomes) == text
    outline = _Outline()
    outline.feed(text)
    assert all(address.startswith("#") for address in outline.addresses)
    assert "default-src 'none'" in outline.policy
    assert outline.policy.count("sha256-") == 2
    assert "unsafe-eval" not in outline.policy
    assert len(text) < 7_000_000
    for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S):
        json.loads(block)


def test_outcomes_without_a_bundle_need_no_script(tmp_path: Path, outcomes: tuple[Outcome, ...], browser: Any) -> None:
    from gemcut.report.formats.html import html_report

    text = html_report(outcomes[2:])
    assert len(text) < 20_000
    (tmp_path / "x.html").write_text(text)
    browser.open(tmp_path / "x.html")
    assert browser.run("document.querySelectorAll('tr.failed').length") == 1
    assert browser.complaints() == []
    (tmp_path / "x.html").write_text(html_report(()))
    browser.open(tmp_path / "x.html")
    assert "nothing was done" in browser.run("document.body.textContent")


def test_logits_that_are_not_numbers_are_drawn(browser: Any, tmp_path: Path, outcomes: tuple[Outcome, ...]) -> None:
    from gemcut.prove.fidelity import fidelity_top64
    from gemcut.report.formats.html import html_report

    base = _evidence(outcomes[0])
    nan = replace(base.recorded[0], logprobs=np.full_like(base.recorded[0].logprobs, np.nan))
    recorded = (nan, *base.recorded[1:])
    verdict = base.verdict and replace(base.verdict, fidelity=fidelity_top64(base.goldens, recorded))
    (tmp_path / "x.html").write_text(
        html_report((replace(outcomes[0], evidence=replace(base, recorded=recorded, verdict=verdict)),))
    )
    browser.open(tmp_path / "x.html")
    _settled(browser)
    assert browser.run("document.querySelectorAll('#b1-plot-fidelity .heatmaplayer image').length") == 1
    assert "not a number" in browser.run("document.querySelector('#b1-plot-fidelity ~ details').textContent")
    assert browser.complaints() == []


def test_a_large_report_has_no_more_rows_than_can_be_read(outcomes: tuple[Outcome, ...]) -> None:
    from gemcut.report.formats.html import html_report

    base = _evidence(outcomes[0])
    many = replace(base, goldens=base.goldens * 8, recorded=base.recorded * 8, verdict=None)
    text = html_report((replace(outcomes[0], evidence=many),))
    assert "the 4000 with the highest KL of 6400" in text
    assert len(text) < 9_000_000
    rows = text.partition("Every position; the 4000")[2].partition("</tbody>")[0].count("<tr>")
    assert rows == 4000 + 1  # and the heads


@pytest.mark.parametrize("lacking", ["files", "tensors", "both", "record", "all"])
def test_a_bundle_that_was_not_finished_is_shown_as_far_as_it_is_known(
    lacking: str, browser: Any, tmp_path: Path, outcomes: tuple[Outcome, ...]
) -> None:
    from gemcut.report.formats.html import html_report

    base = _evidence(outcomes[0])
    gone = {"files": ("files",), "tensors": ("tensors",), "both": ("files", "tensors")}.get(lacking, ())
    manifest = base.manifest.model_copy(update={name: {} for name in gone})
    known = replace(base, manifest=manifest, size=0 if gone else base.size)
    if lacking == "record":
        known = replace(base, recorded=(), verdict=None, behaviour=None)
    if lacking == "all":
        known = Evidence(manifest)
    (tmp_path / "x.html").write_text(html_report((replace(outcomes[0], evidence=known),)))
    browser.open(tmp_path / "x.html")
    _settled(browser)
    slices = browser.run("document.querySelectorAll('#b1-plot-size .slice').length")
    files, tensors = len(base.manifest.files), len(base.manifest.tensors)
    wanted = {"files": 2 + tensors, "tensors": 1 + files, "both": 0}
    assert slices == wanted.get(lacking, files + tensors + 3 if lacking == "record" else files + tensors + 2)
    assert browser.complaints() == []
