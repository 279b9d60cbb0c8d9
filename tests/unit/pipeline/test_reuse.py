"""What one export made is taken by the next one that would make the same, and by no other."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gemcut.errors import GateError, LackingError
from gemcut.pipeline import reference
from gemcut.pipeline.journal import reuse
from gemcut.pipeline.journal.journal import JOURNAL
from gemcut.pipeline.journal.reuse import PROGRAMS, REFERENCES, Kind, Shelf
from gemcut.pipeline.plan import make_plans
from gemcut.pipeline.request import ExportRequest, Published
from gemcut.runtimes import get_runtime
from safetensors.numpy import load_file, save_file

from tests.support.progress import Watched

Run = Callable[..., tuple[Published, ...]]


@pytest.fixture
def shelves(tmp_path: Path, fake: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fake runtime's programs are reused; returns the folder that they are kept in, empty so far."""
    monkeypatch.setenv("GEMCUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(type(get_runtime("fake")), "reuses_programs", True)
    return tmp_path / "cache" / PROGRAMS.folder


def taken(said: Watched) -> bool:
    return any(note.startswith("Taken: an earlier export made this program") for note in said.notes)


def test_the_next_export_takes_the_program_and_proves_it_again(
    run: Run, shelves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = run()
    assert first.resumed == ()
    monkeypatch.setenv("GEMCUT_FAKE", "build=full")  # whoever builds fails
    said = Watched()
    (second,) = run(said, output=tmp_path / "out" / "second", format="zip")
    assert taken(said)
    assert second.resumed == ("load", "reference", "tabulate"), "the fake runtime calls the building so"
    assert second.manifest.program_files == first.manifest.program_files
    with pytest.raises(LackingError, match="the disk is full"):
        run(output=tmp_path / "out" / "fourth", fresh=True)


def test_one_that_differs_is_refused_by_the_proof(run: Run, shelves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setenv("GEMCUT_FAKE", "run=differ")
    with pytest.raises(Exception, match="gate"):
        run(force=True)


@pytest.mark.parametrize("change", [{"prefill_lengths": (16,)}, {"options": {"fake_twist": True}}], ids=str)
def test_another_program_is_built(run: Run, shelves: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    run()
    said = Watched()
    run(said, output=tmp_path / "out" / "second", **change)
    assert not taken(said)
    assert len(list(shelves.iterdir())) == 2


def test_another_recipe_is_built_and_another_gate_is_not(run: Run, shelves: Path, tmp_path: Path) -> None:
    run()
    text = (tmp_path / "strict.toml").read_text()
    recipe = tmp_path / "strict.toml"  # the manifest has a recipe's name, so that another name is another recipe
    for old, new, same in (("mean_kl = 0.001", "mean_kl = 0.002", True), ("Nothing is", "Nothing at all is", False)):
        assert old in text
        recipe.write_text(text.replace(old, new))
        said = Watched()
        run(said, recipe=str(recipe), force=True)
        assert taken(said) is same


def test_other_weights_are_built_and_the_same_elsewhere_are_not(
    run: Run, shelves: Path, checkpoint: Path, tmp_path: Path
) -> None:
    run()
    copy = shutil.copytree(checkpoint, tmp_path / "copy" / checkpoint.name)
    said = Watched()
    run(said, model=str(copy), force=True)
    assert taken(said)
    (file,) = copy.glob("*.safetensors")
    save_file(load_file(file), file, metadata={"format": "pt", "trained": "again"})
    said = Watched()
    run(said, model=str(copy), force=True)
    assert not taken(said)


def test_a_damaged_one_is_built_again(run: Run, shelves: Path, tmp_path: Path) -> None:
    (first,) = run()
    (kept,) = shelves.iterdir()
    program = next(path for path in kept.iterdir() if path.name.startswith("model"))
    content = program.read_bytes()
    program.unlink()  # it is the bundle's own file
    program.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    said = Watched()
    (second,) = run(said, output=tmp_path / "out" / "second")
    assert not taken(said)
    assert any("is damaged (" in note and "so it is made again" in note for note in said.notes)
    assert second.manifest.program_files == first.manifest.program_files
    assert (next(shelves.iterdir()) / program.name).read_bytes() == content


def test_bundles_share_no_file(run: Run, shelves: Path, tmp_path: Path) -> None:
    made = [run(output=tmp_path / "out" / name)[0].bundle / "model.fake" for name in "abc"]
    assert len({path.stat().st_ino for path in made}) == 3


def test_a_cache_that_cannot_be_read_is_no_error(
    run: Run, shelves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()

    def refused(*_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(reuse, "copy_folder", refused)
    said = Watched()
    run(said, output=tmp_path / "out" / "second")
    assert not taken(said)
    assert list((tmp_path / "out").glob(".*")) == []


def test_what_another_distributions_code_builds_is_not_kept(
    ask: Callable[..., ExportRequest], shelves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version says nothing of the code while that is written."""
    (plan,) = make_plans(ask())
    assert reuse.shelf_of(plan, measured=False, fresh=False) is not None
    monkeypatch.setattr(type(plan.runtime), "delegates", SimpleNamespace(packaged=()))
    assert reuse.shelf_of(plan, measured=False, fresh=False) is None


def product(folder: Path, size: int) -> Path:
    folder.mkdir(parents=True)
    (folder / JOURNAL).write_bytes(bytes(size))
    return folder


def test_the_ones_used_last_are_kept_while_they_have_room(tmp_path: Path, shelves: Path) -> None:
    kind = Kind(PROGRAMS.folder, "this", 25, "copy")
    for number, name in enumerate("abc"):
        Shelf(kind, name).keep(product(tmp_path / "made" / name, 10))
        if name != "c":
            os.utime(shelves / name, (number, number))
        if name == "b":
            assert Shelf(kind, "a").take(tmp_path / "taken")  # marks it as used
    assert sorted(path.name for path in shelves.iterdir()) == ["a", "c"]
    Shelf(kind, "large").keep(product(tmp_path / "made" / "large", 26))
    assert not Shelf(kind, "large").take(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_cache_that_cannot_be_written_to_is_no_error(run: Run, tmp_path: Path, shelves: Path) -> None:
    shelves.parent.write_text("a file")
    (published,) = run()
    assert published.bundle.is_dir()


def outputs_taken(said: Watched) -> bool:
    return any(note.startswith("Taken: an earlier export made the float model's outputs") for note in said.notes)


def test_another_recipe_and_a_failed_gate_do_not_run_the_float_model_again(
    run: Run, shelves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMCUT_FAKE", "run=differ")
    with pytest.raises(GateError):
        run()
    monkeypatch.delenv("GEMCUT_FAKE")
    monkeypatch.setattr(reference, "make_goldens", ran_again)
    recipe = tmp_path / "strict.toml"
    recipe.write_text(recipe.read_text().replace("Nothing is", "Nothing at all is"))
    said = Watched()
    (published,) = run(said, recipe=str(recipe))
    assert outputs_taken(said)
    assert not taken(said)
    assert "reference" in published.resumed


def test_after_ctrl_c_the_float_model_does_not_run_again(
    run: Run, shelves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr("gemcut.pipeline.build.build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert not any((tmp_path / "out").glob(".*")), "nothing half-made is left"
    monkeypatch.setattr(reference, "make_goldens", ran_again)
    said = Watched()
    run(said)
    assert outputs_taken(said)


def ran_again(*_: object) -> None:
    raise AssertionError("the float model runs again")


def test_other_prompts_run_the_float_model(
    run: Run, shelves: Path, ask: Callable[..., ExportRequest], tmp_path: Path
) -> None:
    run()
    file = tmp_path / "golden_prompts.jsonl"
    file.write_text(json.dumps({"id": "mine", "messages": [{"role": "user", "content": "hello"}]}) + "\n")
    for change in ({"golden_prompts": file}, {"built_in_prompts": "english"}):
        said = Watched()
        run(said, force=True, **change)
        assert not outputs_taken(said), change
    outputs = shelves.with_name(REFERENCES.folder)
    assert len(list(outputs.iterdir())) == 3
