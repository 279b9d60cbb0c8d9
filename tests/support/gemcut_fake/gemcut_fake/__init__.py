"""A runtime that builds in a millisecond: for a model without attention, the next token's logits are a table.

It has most of what a runtime may have: options, a delegate, two files and two methods in a program, facts about
releases; not a golden runner, nor an engine of its own that is checked. ``faults`` tells it to hang, die, differ, or
find the disk full.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

from gemcut.compat.facts import Known, Package, Table
from gemcut.compat.needs import Kind
from gemcut.compat.releases import ReleaseFacts
from gemcut.runtimes.base import Engine, Exporter, Inspector, RuntimeOption, RuntimePlugin
from gemcut.util.registry import Registry

OPERATOR = "fake::lookup"


class FakeReleases(ReleaseFacts):
    package_example = "fake-android==2.0"

    def packages(self) -> Mapping[str, Package]:
        return {"fake-android": Package(runtime="fake", source="made up")}

    def tables(self, package: str | None) -> dict[Kind, Table]:
        known = (Known("1.0", frozenset(), "made up"), Known("2.0", frozenset({OPERATOR}), "made up"))
        return {"operator": Table(known)}


class Fake(RuntimePlugin):
    name = "fake"
    title = "Fake"
    program_name = "model.fake"
    distribution = "gemcut-fake"
    distributions = ("gemcut-fake",)
    libraries = ("numpy",)
    platforms = frozenset({"linux-x86_64", "linux-arm64"})
    delegates: Registry[object] = Registry(
        "delegate of fake", "gemcut_fake.delegates", {"lookup": "gemcut_fake.parts:LOOKUP"}, __name__
    )
    options = (
        RuntimeOption(
            "fake_twist",
            help="Fake: put a file twist.txt beside the program.",
            description="Fake: a file twist.txt beside the program.",
            in_target="A file twist.txt beside the program.",
            can_refuse=True,
        ),
    )
    table_keys = ("recipe",)

    @property
    def install(self) -> str:
        return "pip install gemcut-fake"

    @property
    def exporter(self) -> Exporter:
        from .parts import FakeExporter

        return FakeExporter(self.name)

    @property
    def engine(self) -> Engine:
        from .parts import FakeEngine

        return FakeEngine()

    @property
    def inspector(self) -> Inspector:
        from .parts import FakeInspector

        return FakeInspector()

    @property
    def releases(self) -> ReleaseFacts:
        return FakeReleases()

    def version(self) -> str:
        return metadata.version(self.distribution)


class SecondFake(Fake):
    """The same under another name, for exports of several bundles."""

    name = "fake_two"
    options = ()
    table_keys = ()


PLUGIN = Fake()
SECOND = SecondFake()
