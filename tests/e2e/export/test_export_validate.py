"""``gemcut validate``: a bundle is proven from what it holds alone, and what happened to its bytes is found."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.archive import ALIGNMENT
from gemcut.bundle.manifest import side_bytes
from gemcut.bundle.reader import open_bundle
from gemcut.bundle.staging import Staging

Run = Callable[..., Any]
Here = Callable[..., Any]


@pytest.fixture
def copy(sample_int4: Any, tmp_path: Path) -> Path:
    """The sample's bundle, to be damaged."""
    return Path(shutil.copytree(sample_int4.path, tmp_path / "bundle"))


def found(here: Here, bundle: Path, name: str, *words: str, code: int = 6) -> None:
    """Validates and expects the file and the remedy to be named, before anything is run."""
    said = here("validate", bundle)
    assert said.code == code, said.err
    problem = said.err[said.err.index("error: ") :]
    for word in (name, "hint: ", *words):
        assert word in problem
    assert "Running the goldens" not in said.err


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_the_sample_is_proven_again_from_another_folder(sample_int4: Any, tmp_path: Path, run: Run) -> None:
    bundle = Path(shutil.copytree(sample_int4.path, tmp_path / "elsewhere" / "renamed"))
    done = run("validate", bundle, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"] is True
    assert document["proven"] is True
    found = document["here"]
    assert found["violations"] == found["failures"] == []
    assert found["max_logprob_diff"] <= found["tolerance"]["logprob"]
    fidelity = sample_int4.document["fidelity"]
    assert found["positions"] == fidelity["positions"]
    assert found["fidelity"]["top1"] == pytest.approx(fidelity["top1"], abs=0.02)


def test_no_checkpoint_is_needed(unproven: Any, tmp_path: Path, run: Run) -> None:
    assert not (unproven.path.parent / "tiny").exists()
    done = run("validate", unproven.path, "--json", cwd=tmp_path)
    found = json.loads(done.stdout)["here"]
    assert found["failures"] == [], "it does here what it did at its export"
    assert found["violations"] == [v for v in found["violations"] if "limit" in v] != []
    assert done.returncode == 5


def test_one_flipped_byte_in_any_file(copy: Path, here: Here) -> None:
    rng = random.Random(0)
    for path in sorted(p for p in copy.rglob("*") if p.is_file()):
        at = rng.randrange(path.stat().st_size)
        flip(path, at)
        said = here("validate", copy)
        assert said.code in (4, 6), f"{path.name}, byte {at}: {said.err}"
        assert path.name in said.err
        assert "hint: " in said.err
        assert "Running the goldens" not in said.err
        flip(path, at)


def test_one_flipped_byte_anywhere_in_a_zip(unproven: Any, tmp_path: Path, here: Here) -> None:
    bundle = tmp_path / "bundle.gemcut"
    shutil.copyfile(unproven.path, bundle)
    size, rng = bundle.stat().st_size, random.Random(1)
    for at in [0, ALIGNMENT, size // 2, size - 1, *(rng.randrange(size) for _ in range(12))]:
        flip(bundle, at)
        said = here("validate", bundle)
        assert said.code in (4, 6), f"byte {at}: {said.err}"
        assert "bundle.gemcut" in said.err
        assert "hint: " in said.err
        flip(bundle, at)


@pytest.mark.parametrize("name", ["model.pte", "tokenizer.json", "goldens/goldens.safetensors", "manifest.json"])
def test_a_missing_file(name: str, copy: Path, here: Here) -> None:
    (copy / name).unlink()
    found(here, copy, f"{name} is missing")


def test_a_swapped_tokenizer(copy: Path, tiny: Path, here: Here) -> None:
    shutil.copyfile(tiny / "tokenizer.json", copy / "tokenizer.json")
    found(here, copy, "tokenizer.json")


def test_a_truncated_program(copy: Path, here: Here) -> None:
    program = copy / "model.pte"
    program.write_bytes(program.read_bytes()[:-4096])
    found(here, copy, "model.pte is truncated")


def test_a_newer_schema(copy: Path, here: Here) -> None:
    path = copy / "manifest.json"
    data = json.dumps({**json.loads(path.read_text()), "schema_version": 2}).encode()
    path.write_bytes(data)
    (copy / "manifest.sha256").write_bytes(side_bytes(data))
    found(here, copy, "manifest.json has schema version 2", "upgrade gemcut", code=4)


def repack(source: Path, out: Path, **changes: bytes) -> Path:
    """The bundle with other files and hashes that fit them: what whoever can write the manifest can do."""
    with open_bundle(source) as opened, Staging(out, "dir") as staging:
        for name in opened.manifest.files:
            staging.add(name, changes.get(name.replace(".", "_"), opened.read(name)))
        staging.publish(opened.manifest)
    return out


def test_a_swapped_tokenizer_with_hashes_that_fit(sample_int4: Any, tmp_path: Path, run: Run) -> None:
    """No hash tells: the goldens do, since the same text gives other ids."""
    state = json.loads((sample_int4.path / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = state["model"]["vocab"]
    for one, other in (("e", "t"), ("a", "o"), ("n", "s")):
        vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    bundle = repack(sample_int4.path, tmp_path / "bundle", tokenizer_json=json.dumps(state).encode())
    done = run("validate", bundle, cwd=tmp_path)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "the tokenizer gives other ids than at export" in done.stderr
    assert "NOT proven on this machine" in done.stdout


def test_a_truncated_program_with_hashes_that_fit(unproven: Any, tmp_path: Path, run: Run) -> None:
    with open_bundle(unproven.path) as opened:
        program = opened.read("model.pte")
    bundle = repack(unproven.path, tmp_path / "bundle", model_pte=program[: len(program) // 2])
    done = run("validate", bundle, cwd=tmp_path)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "model.pte" in done.stderr
    assert "hint: " in done.stderr


def test_a_checkpoint_is_no_bundle(tiny: Path, here: Here) -> None:
    said = here("validate", tiny)
    assert said.code == 2
    assert "is a checkpoint, not a bundle" in said.err
    assert "gemcut export" in said.err
