"""``--fail-on``: its grammar, and that each limit is held both ways."""

from __future__ import annotations

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.diff.thresholds import FIGURES, Threshold, parse_thresholds
from gemcut.errors import UsageError

from tests.support.diff_variants import Variant, compare, other_outputs, spoiled
from tests.support.exports import Exported


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("size>+5%", Threshold("size>+5%", "size", True, True, True, 0.05)),
        ("size > 10 MB", Threshold("size > 10 MB", "size", True, False, False, 10e6)),
        ("program>+1.5kB", Threshold("program>+1.5kB", "program", True, True, False, 1500.0)),
        ("mean_kl>+0.001", Threshold("mean_kl>+0.001", "mean_kl", True, True, False, 0.001)),
        ("mean_kl>1e-2", Threshold("mean_kl>1e-2", "mean_kl", True, False, False, 0.01)),
        ("top1<-0.01", Threshold("top1<-0.01", "top1", False, True, False, -0.01)),
        ("tool_calls<-0.0", Threshold("tool_calls<-0.0", "tool_calls", False, True, False, 0.0)),
        ("texts>0", Threshold("texts>0", "texts", True, False, False, 0.0)),
        ("texts>.5", Threshold("texts>.5", "texts", True, False, False, 0.5)),
        ("operators", Threshold("operators", "operators")),
        ("matters", Threshold("matters", "matters")),
    ],
)
def test_limits_are_read(text: str, wanted: Threshold) -> None:
    assert parse_thresholds([text]) == (wanted,)


def test_limits_may_be_many_in_one_and_one_in_many() -> None:
    assert [one.name for one in parse_thresholds(["size>+5%, texts>0", "stop"])] == ["size", "texts", "stop"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("size>+5%,", "empty"),
        ("size>", "can't be read"),
        ("size>=5", "can't be read"),
        ("size+5%", "can't be read"),
        ("size>5%", "a percentage needs a sign"),
        ("siz>5MB", "did you mean 'size'"),
        ("operator", "did you mean 'operators'"),
        ("mean-kl>1", "did you mean 'mean_kl'"),
        ("operators>3", "is not a figure"),
        ("mean_kl", "needs a limit"),
        ("texts>+1", "takes neither sign nor unit"),
        ("texts>5%", "takes neither sign nor unit"),
        ("size>5MiB", "unknown unit 'MiB'"),
        ("mean_kl>5MB", "unknown unit 'MB'"),
        ("size>5mb", "did you mean 'MB'"),
        ("5MB", "can't be read"),
        ("size>--5", "can't be read"),
        ("size>nan", "can't be read"),
    ],
)
def test_what_is_no_limit_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_thresholds([text])
    assert words in told.value.message
    assert told.value.hint


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        ("size>+100%", False),
        ("size>+1000%", True),
        ("size>+1MB", False),
        ("size>+1GB", True),
        ("size>10MB", False),
        ("size>1GB", True),
        ("size<30MB", False),
        ("size<1MB", True),
        ("program>+100%", False),
        ("program>+1000%", True),
        ("mean_kl>+0.001", True),
        ("mean_kl>-0.5", False),
        ("mean_kl<-0.0005", False),
        ("mean_kl<1", False),
        ("top1<-0.01", True),
        ("top1<1.1", False),
        ("top1<0.9", True),
        ("coverage<-0.5", True),
        ("coverage>+0.01", False),
        ("tool_calls<-0.0", True),
        ("perplexity_ratio>2", True),
        ("p99_kl>+10%", True),
        ("operators", False),
        ("template", True),
        ("tokenizer", True),
        ("stop", True),
        ("runtime", True),
        ("recipe", False),
        ("matters", False),
        ("matters>100", True),
    ],
)
def test_limits_are_held(limit: str, kept: bool, sample_int4: Exported, sample_float32: Exported) -> None:
    found = compare(sample_int4.path, sample_float32.path, limit)
    assert [line.passed for line in found.thresholds] == [kept], found.thresholds
    assert found.passed is kept
    assert found.thresholds[0].message


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        ("texts>0", False),
        ("texts>1000", True),
        ("texts", False),
        ("tool_calls<-0.0", False),
        ("tool_calls<-1.0", True),
        ("tool_calls<0.5", False),
        ("tool_calls", False),
        ("mean_kl>+0", True),
    ],
)
def test_limits_on_replies_are_held(limit: str, kept: bool, sample_int4: Exported, variant: Variant) -> None:
    worse = variant(sample_int4.path, files=other_outputs(sample_int4.path, spoiled))
    assert compare(sample_int4.path, worse, limit).passed is kept
    assert compare(sample_int4.path, sample_int4.path, limit).passed


def test_same_bundle_keeps_every_limit_on_a_change(sample_int4: Exported) -> None:
    counts = {"texts", "matters"}
    limits = [f"{name}>{'' if name in counts else '+'}0" for name in FIGURES]
    limits += [f"{name}<-0" for name in FIGURES if name not in counts]
    found = compare(sample_int4.path, sample_int4.path, *limits)
    assert [line.threshold for line in found.thresholds if not line.passed] == []


def test_what_cannot_be_measured_keeps_no_limit(sample_int4: Exported, variant: Variant) -> None:
    with open_bundle(sample_int4.path) as bundle:
        figures = bundle.manifest.fidelity
    assert figures is not None
    other = variant(sample_int4.path, manifest={"fidelity": figures.model_copy(update={"mean_kl": None})})
    (line,) = compare(sample_int4.path, other, "mean_kl>1000").thresholds
    assert (line.passed, line.measured) == (False, None)
    assert "the second bundle has no mean_kl" in line.message
