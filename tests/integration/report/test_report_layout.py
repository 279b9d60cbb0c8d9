"""The HTML report on a phone's screen and on a desk's: nothing scrolls sideways, is cut, too small or too pale."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gemcut.report.outcome import Finding, Outcome, Place

pytest.importorskip("plotly", reason="plotly is not installed: pip install 'gemcut[report]'")

PHONE, DESK = 360, 1280
KINDS = ("export", "validate", "check", "diff", "gemcut.toml")
NAME = "assistant-functiongemma-270m-it-lora-tools-multilingual-v3-android-arm64-executorch-int4-group32"
OPERATOR = "aten::_scaled_dot_product_flash_attention_for_cpu.out"
HINT = (
    "Update org.pytorch:executorch-android to 1.1.0 or later; or export again with --oldest-runtime 1.0, which builds "
    "the program from operators that this release has; or leave the delegate out, which costs speed."
)
LEAST, LEAST_IN_PLOTS = 13.0, 11.0  # pixels of a font
CONTRAST = 4.5  # of text on its ground: WCAG 2.2, 1.4.3, level AA

# All that is wrong with the page at this width, in words; an empty list if nothing is.
FAULTS = """(() => {
  const faults = [], root = document.documentElement, wide = root.clientWidth;
  const seen = (e) => e.checkVisibility() && !e.closest('.heard, .skip, script, style, noscript');
  const name = (e) => e.tagName + '.' + (e.className.baseVal ?? e.className) + ' ' + e.textContent.trim().slice(0, 40);
  if (root.scrollWidth > wide) faults.push(`the page is ${root.scrollWidth} wide on ${wide}`);
  for (const e of document.body.querySelectorAll('*')) {
    if (!seen(e)) continue;
    const style = getComputedStyle(e), scrolls = ['auto', 'scroll'];
    if (scrolls.includes(style.overflowX) || scrolls.includes(style.overflowY)) faults.push('a scroll box: ' + name(e));
    if (!e.ownerSVGElement && e.tagName !== 'svg' && e.clientWidth && e.scrollWidth > e.clientWidth + 1)
      faults.push(`wider inside than outside: ${name(e)}`);
  }
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode, e = text.parentElement;
    if (!text.data.trim() || !seen(e)) continue;
    const inPlot = Boolean(e.closest('svg'));
    const size = parseFloat(getComputedStyle(e).fontSize);
    if (size < (inPlot ? IN_PLOTS : LEAST)) faults.push(`${size} px: ${name(e)}`);
    const range = document.createRange();
    range.selectNodeContents(text);
    const box = e.closest('td, th, caption, dd, dt, pre, p, li, summary, figcaption, h1, h2, h3, h4, .plot');
    const room = box.getBoundingClientRect();
    for (const part of range.getClientRects())
      if (part.left < Math.max(room.left, 0) - 1 || part.right > Math.min(room.right, wide) + 1)
        faults.push(`cut: ${name(e)} ${part.left}..${part.right} in ${room.left}..${room.right}`);
  }
  return faults.slice(0, 20);
})()""".replace("IN_PLOTS", str(LEAST_IN_PLOTS)).replace("LEAST", str(LEAST))

# Texts with less contrast than CONTRAST, by the colours that are computed for them and the first ground behind them.
PALE = """(() => {
  const parts = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => parts(c).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const c = getComputedStyle(at).backgroundColor;
      if (parts(c)[3] !== 0) return c;
    }
  };
  const found = new Set();
  for (const e of document.querySelectorAll('body *')) {
    const says = [...e.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
    if (!says || !e.checkVisibility() || e.closest('svg')) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
    if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < CONTRAST) found.add(e.tagName + '.' + e.className);
  }
  return [...found];
})()""".replace("CONTRAST", str(CONTRAST))

# How many colours a picture has in its outermost columns of pixels, left and right, and how many anywhere.
COLOURS = """(async (data) => {
  const image = new Image();
  image.src = 'data:image/png;base64,' + data;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height), pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0);
  const colours = (x, y, w, h) => new Set(new Uint32Array(pen.getImageData(x, y, w, h).data.buffer)).size;
  const edge = 4, { width, height } = image;
  return [width, colours(0, 0, edge, height), colours(width - edge, 0, edge, height), colours(0, 0, width, height)];
})"""


def _check() -> Outcome:
    place = Place("gradle/libs.versions.toml", 6)
    said = f"ExecuTorch 1.0.0 (gradle/libs.versions.toml) lacks the operator {OPERATOR}"
    return Outcome(
        "check",
        "assistant",
        "failed",
        (
            Finding("runtime.operator", False, said, 6, hint=HINT, place=place),
            Finding("runtime.backend", True, "ExecuTorch 1.0.0 has all that is needed (1)", place=place),
        ),
        runtime="executorch",
        bundle=Path("bundles/assistant"),
    )


def _diff() -> Outcome:
    return Outcome(
        "diff",
        NAME,
        "failed",
        (
            Finding("diff.size", False, "--fail-on size>+5%: 3.1 MB became 3.9 MB (+25.8%)", 7, 0.258, 0.05),
            Finding("diff.template", True, "matters: another text for 3 of 24 chats", prompt="tool-3"),
        ),
        runtime="executorch",
        bundle=Path("bundles") / NAME,
        seconds={"open": 0.2, "compare": 1.2},
        notes=(f"compared with baselines/{NAME}",),
    )


def _mistakes() -> Outcome:
    known = "Did you mean 'download_size'? Known: decode, device_size, download_size, expected, load_time, mean_kl."
    said = "[bundles.assistant.budgets] has no key 'downlod_size'"
    places = [Place("gemcut.toml", line) for line in (4, 9, 17)]
    findings = tuple(Finding("error.ProjectError", False, said, 2, hint=known, place=place) for place in places)
    return Outcome("export", "gemcut.toml", "failed", findings, place=places[0])


@pytest.fixture(scope="module")
def pages(outcomes: tuple[Outcome, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of every kind, by KINDS: the validation is of a bundle whose model and name are long."""
    from gemcut.report.formats.html import html_report

    evidence = outcomes[1].evidence
    assert evidence is not None
    model = evidence.manifest.model.model_copy(update={"name": f"example-organisation/{NAME}", "revision": "0" * 40})
    long = replace(evidence, manifest=evidence.manifest.model_copy(update={"model": model}))
    validated = replace(outcomes[1], action="validate", name=NAME, evidence=long)
    kinds = (outcomes, (validated,), (_check(),), (_diff(),), (_mistakes(),))
    folder = tmp_path_factory.mktemp("kinds")
    made = {}
    for kind, found in zip(KINDS, kinds, strict=True):
        made[kind] = folder / f"{kind}.html"
        made[kind].write_text(html_report(found), encoding="utf-8")
    return made


@pytest.fixture
def screen(browser: Any) -> Callable[..., Any]:
    """Opens a page on a screen of a width, in one colour scheme, with everything unfolded."""

    def show(page: Path, width: int, scheme: str = "light") -> Any:
        browser.media(scheme)
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == PHONE}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        browser.open(page)
        browser.wait(lambda: browser.run("document.querySelectorAll('.plot:not(:has(svg.main-svg))').length") == 0)
        browser.run("document.querySelectorAll('details').forEach(part => { part.open = true })")
        browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return browser

    return show


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_scrolls_sideways_is_cut_or_too_small(
    kind: str, width: int, screen: Callable[..., Any], pages: dict[str, Path]
) -> None:
    browser = screen(pages[kind], width)
    assert browser.run(FAULTS) == []
    assert browser.complaints() == []


def test_a_page_that_scrolls_cuts_or_whispers_is_noticed(
    screen: Callable[..., Any], pages: dict[str, Path], tmp_path: Path
) -> None:
    text = pages["check"].read_text(encoding="utf-8")
    for style, fault in (
        (".wide td { white-space: nowrap !important }", "the page is"),
        ("table { display: block; overflow-x: auto }", "a scroll box"),
        (".said { overflow: hidden; white-space: nowrap !important }", "cut"),
        ("small { font-size: 10px }", "10 px"),
    ):
        (tmp_path / "x.html").write_text(text.replace("</style>", f"{style}</style>", 1), encoding="utf-8")
        assert any(fault in one for one in screen(tmp_path / "x.html", PHONE).run(FAULTS)), style


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_enough_contrast(scheme: str, screen: Callable[..., Any], pages: dict[str, Path]) -> None:
    assert screen(pages["export"], PHONE, scheme).run(PALE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_picture_of_the_page_has_margins_that_nothing_runs_into(
    width: int, scheme: str, screen: Callable[..., Any], pages: dict[str, Path]
) -> None:
    browser = screen(pages["validate"], width, scheme)
    browser.run("document.querySelectorAll('details').forEach(part => { part.open = part.matches('.passed') })")
    whole = {"x": 0, "y": 0, "width": browser.run("document.documentElement.clientWidth"), "height": 6000, "scale": 1}
    data = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=whole)["data"]
    assert base64.b64decode(data).startswith(b"\x89PNG")
    browser.call("Page.navigate", url="about:blank")
    browser.wait(lambda: browser.run("location.protocol") == "about:")
    wide, left, right, all_colours = browser.run(f"{COLOURS}('{data}')")
    assert wide == whole["width"]
    assert (left, right) == (1, 1)
    assert all_colours > 50


def test_rows_become_cards_on_a_phone_and_stay_rows_on_a_desk(
    screen: Callable[..., Any], pages: dict[str, Path]
) -> None:
    heads = "[...document.querySelectorAll('.findings td')].map(cell => getComputedStyle(cell, '::before').content)"
    rows = "[...document.querySelectorAll('.findings tr.failed')]"
    apart = f"{rows}.every(row => row.cells[1].getBoundingClientRect().top > row.cells[0].getBoundingClientRect().top)"
    browser = screen(pages["export"], PHONE)
    assert browser.run(apart)
    assert {'"verdict"', '"measured"', '"limit"'} <= set(browser.run(heads))
    assert browser.run("getComputedStyle(document.querySelector('.findings thead')).display") == "none"
    browser = screen(pages["export"], DESK)
    assert not browser.run(apart)
    assert set(browser.run(heads)) == {"none"}
    # A screen reader has a table at either width.
    roles = "[...document.querySelectorAll('.wide, .wide tr, .wide th, .wide td')].every(e => e.getAttribute('role'))"
    assert browser.run(roles)


@pytest.mark.parametrize("kind", ["check", "export", "gemcut.toml"])
def test_what_to_do_stands_below_the_table_and_is_said_once(
    kind: str, screen: Callable[..., Any], pages: dict[str, Path]
) -> None:
    browser = screen(pages[kind], DESK)
    hints = browser.run("[...document.querySelectorAll('.next + .notes dd')].map(hint => hint.textContent)")
    cells = " ".join(browser.run("[...document.querySelectorAll('td, th')].map(cell => cell.textContent)"))
    assert hints
    assert not [hint for hint in hints if hint in cells]
    if kind == "check":
        assert hints == [HINT]
        assert browser.run("document.querySelector('.next + .notes dt').textContent") == "runtime: operator"
        assert browser.run("document.querySelectorAll('.findings thead th').length") == 3 + 3  # nothing was measured
    if kind == "gemcut.toml":
        assert len(hints) == 1
        assert browser.run("document.querySelectorAll('tr.failed').length") == 3


def test_a_turned_phone_draws_its_plots_anew(screen: Callable[..., Any], pages: dict[str, Path]) -> None:
    browser = screen(pages["export"], PHONE)
    edge = "document.querySelector('#b1-plot-fidelity {}').getBoundingClientRect().{}"
    below = f"{edge.format('[class*=colorbar]', 'top')} > {edge.format('.heatmaplayer', 'bottom')}"
    browser.wait(lambda: browser.run(below))
    browser.call("Emulation.setDeviceMetricsOverride", width=DESK, height=700, deviceScaleFactor=1, mobile=True)
    browser.wait(lambda: not browser.run(below))
    browser.wait(lambda: browser.run(FAULTS) == [])
