"""The forms of a result: emulated speed never looks like a device's."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from gemcut.bench.forms import comma_separated, figure_text, markdown
from gemcut.bench.results import BenchBundle, BenchPlace, BenchResult, BenchTest, Condition, figure

PLACE = BenchPlace(
    device="adb:one",
    system="Android 14 on Pixel 6 (Linux 5.10)",
    architecture="aarch64",
    cpu="Tensor",
    cores=8,
    memory=7_600_000_000,
    before=Condition(84, 31.2, False, "none"),
    after=Condition(83, 35.0, False, "light"),
)
BUNDLE = BenchBundle(
    bundle="bundles/a",
    proven=True,
    model="org|model",
    runtime="executorch",
    version="1.5.1",
    recipe="int4",
    context=2048,
    size=4_000_000,
    threads=4,
    tests=(BenchTest("pp128", "pp", 128, figure([100.0, 110.0])), BenchTest("tg64", "tg", 64, figure([20.0, 20.5]))),
    load=figure([0.5, 0.6]),
    memory_before=figure([5e6, 5e6]),
    peak_memory=figure([14e6, 15e6]),
    own_memory=figure([9e6, 9e6]),
    mapped_memory=None,
    written=0,
)
RESULT = BenchResult(False, PLACE, 2, (BUNDLE,), ("something to know",))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace(r"\|", "/").strip("|").split("|")]


def table_lines(text: str) -> list[list[str]]:
    return [cells(line) for line in text.splitlines() if line.startswith("|")]


def test_a_figure_is_mean_and_sample_standard_deviation() -> None:
    assert figure([1.0, 2.0, 6.0]).mean == 3.0
    assert figure([1.0, 2.0, 6.0]).sd == pytest.approx(7.0**0.5)
    assert figure([5.0]).sd is None
    assert [figure_text(figure(values)) for values in ([100.0, 110.0], [5.0])] == ["105.00 ± 7.07", "5.00"]


def test_markdown_has_a_row_for_each_test_and_names_place_and_condition() -> None:
    shown = markdown(RESULT)
    heads, _, *rows = table_lines(shown)
    assert heads == ["model", "size", "runtime", "recipe", "threads", "test", "t/s"]
    assert rows[0] == ["org/model", "4.0 MB", "executorch", "int4", "4", "pp128", "105.00 ± 7.07"]
    assert rows[1][-2:] == ["tg64", "20.25 ± 0.35"]
    assert rows[-1] == ["org/model", "executorch", "int4", "0.550 ± 0.071", "14.5 ± 0.7", "9.0 ± 0.0", "-"]
    assert "adb:one: Android 14 on Pixel 6 (Linux 5.10), Tensor, 8 cores, 7.6 GB of memory; 2 runs" in shown
    assert "before: battery at 84%, not charging, 31.2 °C, thermal status none" in shown
    assert "after: battery at 83%, not charging, 35.0 °C, thermal status light" in shown
    assert shown.endswith("note: something to know")


def test_emulated_speed_is_marked_in_every_form() -> None:
    emulated = replace(RESULT, emulated=True)
    shown = markdown(emulated)
    assert shown.startswith("**Emulated: these speeds say nothing about a phone's.**\n")
    assert table_lines(shown)[0][-1] == "t/s (emulated)"
    rows = list(csv.DictReader(io.StringIO(comma_separated(emulated))))
    assert {row["emulated"] for row in rows} == {"true"}
    assert "tokens_per_second" not in rows[0]
    assert float(rows[0]["emulated_tokens_per_second"]) == 105.0


def test_csv_keeps_whole_numbers_of_bytes_and_leaves_unknown_figures_empty() -> None:
    first, second = csv.DictReader(io.StringIO(comma_separated(RESULT)))
    assert (first["model"], first["test"], second["test"]) == ("org|model", "pp128", "tg64")
    assert (float(first["tokens_per_second"]), float(first["tokens_per_second_sd"])) == (
        105.0,
        pytest.approx(7.07, 0.01),
    )
    assert (float(first["peak_memory"]), first["mapped_memory"]) == (14.5e6, "")


def test_bundles_that_look_alike_are_told_apart_and_unknown_threads_are_said() -> None:
    other = replace(BUNDLE, bundle="bundles/b", threads=None)
    rows = table_lines(markdown(replace(RESULT, bundles=(BUNDLE, other))))
    assert rows[2][0] == "org/model (bundles/a)"
    assert rows[4][0] == "org/model (bundles/b)"
    assert rows[4][4] == "its own"
