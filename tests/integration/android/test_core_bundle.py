"""The app's core opens a bundle: what is whole is taken, and all else refused in words that name the file."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemcut.bundle.archive import write_archive
from gemcut.bundle.manifest import MANIFEST, SIDE_FILE, side_bytes
from gemcut.bundle.reader import open_bundle
from gemcut.prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded

Variant = Callable[..., Path]


def files_of(bundle: Path) -> dict[str, Path]:
    return {p.relative_to(bundle).as_posix(): p for p in sorted(bundle.rglob("*")) if p.is_file()}


def pack(bundle: Path, target: Path) -> Path:
    members = {
        name: (path.stat().st_size, lambda path=path: path.open("rb")) for name, path in files_of(bundle).items()
    }
    with target.open("wb") as sink:
        write_archive(sink, members)
    return target


def test_the_class_files_hold_nothing_that_old_dex_compilers_refuse(core: Any) -> None:
    files = sorted(core.main.rglob("*.class"))
    assert len(files) > 25
    for file in files:
        assert not pool_tags(file.read_bytes()) & {15, 16, 17, 18}, f"{file.name} has an invokedynamic"


def pool_tags(data: bytes) -> set[int]:
    """The kinds of a class file's constants (The Java Virtual Machine Specification, 4.4)."""
    count, at, tags = int.from_bytes(data[8:10], "big"), 10, set()
    sizes = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5, 15: 4, 16: 3, 17: 5, 18: 5, 19: 3, 20: 3}
    index = 1
    while index < count:
        tag = data[at]
        tags.add(tag)
        at += 3 + int.from_bytes(data[at + 1 : at + 3], "big") if tag == 1 else sizes[tag]
        index += 2 if tag in (5, 6) else 1
    return tags


def test_junit(core: Any) -> None:
    names = sorted(path.stem for path in (core.tests / "org/gemcut/core").glob("*Test.class"))
    assert names
    done = core.java("org.junit.runner.JUnitCore", *(f"org.gemcut.core.{name}" for name in names))
    assert done.returncode == 0, done.stdout
    assert "OK (" in done.stdout


@pytest.fixture(params=["executorch", "litert"])
def bundle(request: pytest.FixtureRequest) -> Path:
    name = {"executorch": "sample_int4", "litert": "sample_litert"}[request.param]
    return Path(request.getfixturevalue(name).path)


def test_a_whole_bundle_is_taken_as_folder_and_as_zip(core: Any, bundle: Path, tmp_path: Path) -> None:
    manifest = open_bundle(bundle).manifest
    answers = core.ask("verify", lines=[bundle, pack(bundle, tmp_path / "whole.gemcut")])
    total = sum(record.size for record in manifest.files.values())
    for answer in answers:
        assert answer == {
            "sha256": hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest(),
            "done": total,
            "total": total,
            "stop_ids": list(manifest.stop_ids),
            "kernels": list(manifest.kernels),
            "context": manifest.context,
            "prefill_chunk": manifest.prefill_chunk,
            "vocab_size": manifest.vocab_size,
            "bos_id": manifest.bos_id,
            "program": manifest.program,
            "licence": manifest.licence.id,
            "runtime": f"{manifest.runtime.name} {manifest.runtime.version}",
        }


def test_a_flipped_bit_anywhere_is_refused_with_the_name(core: Any, bundle: Path, variant: Variant) -> None:
    folders, wanted = [], []
    for name, path in files_of(bundle).items():
        data = path.read_bytes()
        for at in {0, len(data) // 2, len(data) - 1}:
            changed = bytearray(data)
            changed[at] ^= 1
            folders.append(variant(bundle, f"flip-{len(folders)}", {name: bytes(changed)}))
            wanted.append(name)
    for name, answer in zip(wanted, core.ask("verify", lines=folders), strict=True):
        assert answer.get("kind") == "DAMAGED", (name, answer)
        assert name in answer["error"], answer
        assert answer["hint"]


def with_manifest(bundle: Path, **changes: Any) -> dict[str, bytes | None]:
    data = json.dumps({**json.loads((bundle / MANIFEST).read_bytes()), **changes}).encode()
    return {MANIFEST: data, SIDE_FILE: side_bytes(data)}


def test_other_damage_is_refused(core: Any, bundle: Path, variant: Variant, tmp_path: Path) -> None:
    goldens = (bundle / GOLDENS[0]).read_bytes()
    files = json.loads((bundle / MANIFEST).read_bytes())["files"]
    climbing = {**files, "../evil": files["LICENSE"]}
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no bundle")
    checkpoint = variant(bundle, "checkpoint", {MANIFEST: None, SIDE_FILE: None})
    cases: list[tuple[Path, str, str]] = [
        (variant(bundle, "short", {GOLDENS[0]: goldens[:-9]}), "DAMAGED", f"{GOLDENS[0]} is truncated"),
        (variant(bundle, "long", {GOLDENS[0]: goldens + b"x"}), "DAMAGED", f"{GOLDENS[0]} is too long"),
        (variant(bundle, "gone", {"tokenizer.json": None}), "DAMAGED", "tokenizer.json is missing"),
        (variant(bundle, "no-side", {SIDE_FILE: None}), "DAMAGED", f"{SIDE_FILE} is missing"),
        (variant(bundle, "no-manifest", {MANIFEST: None}), "DAMAGED", f"{MANIFEST} is missing"),
        (variant(bundle, "more", {"goldens/x.bin": b"x"}), "DAMAGED", "goldens/x.bin doesn't belong"),
        (variant(bundle, "newer", with_manifest(bundle, schema_version=2)), "NEWER", "schema version 2"),
        (variant(bundle, "older", with_manifest(bundle, schema_version=0)), "DAMAGED", "schema version"),
        (variant(bundle, "climbs", with_manifest(bundle, files=climbing)), "DAMAGED", "../evil"),
        (variant(bundle, "words", with_manifest(bundle, context="long")), "DAMAGED", "context"),
        (checkpoint, "NOT_A_BUNDLE", "is not a bundle"),
        (tmp_path / "empty", "NOT_A_BUNDLE", "is not a bundle"),
        (tmp_path / "text.txt", "NOT_A_BUNDLE", "is not a bundle"),
        (tmp_path / "nothing", "NOT_A_BUNDLE", "there is no"),
    ]
    link = variant(bundle, "link", {})
    (link / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    cases.append((link, "DAMAGED", "elsewhere doesn't belong"))
    answers = core.ask("verify", lines=[path for path, _, _ in cases])
    for (path, kind, words), answer in zip(cases, answers, strict=True):
        assert answer.get("kind") == kind, (path.name, answer)
        assert words in answer["error"], (path.name, answer)


def test_a_zip_with_a_bad_member_is_refused(core: Any, sample_int4: Any, tmp_path: Path) -> None:
    bundle = sample_int4.path
    whole = pack(bundle, tmp_path / "whole.gemcut")
    data = whole.read_bytes()
    cases: list[tuple[Path, str]] = []

    def case(name: str, words: str, content: bytes | None = None) -> Path:
        cases.append((tmp_path / f"{name}.gemcut", words))
        if content is not None:
            cases[-1][0].write_bytes(content)
        return cases[-1][0]

    with zipfile.ZipFile(whole) as archive:
        for info in archive.infolist():
            start = info.header_offset
            at = start + 30 + int.from_bytes(data[start + 26 : start + 28], "little")
            at += int.from_bytes(data[start + 28 : start + 30], "little") + info.file_size // 2
            case(f"flip-{len(cases)}", info.filename, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    case("short", "truncated or changed", data[: len(data) // 2])
    case("none", "truncated or changed", b"")
    for name, kind, extra in (("deflated", zipfile.ZIP_DEFLATED, {}), ("more", zipfile.ZIP_STORED, {"../x": b"x"})):
        with zipfile.ZipFile(case(name, "../x" if extra else "is compressed"), "w", kind) as archive:
            for file, path in files_of(bundle).items():
                archive.write(path, file)
            for file, content in extra.items():
                archive.writestr(file, content)
    with zipfile.ZipFile(case("twice", "twice"), "w") as archive:
        for file, path in files_of(bundle).items():
            archive.write(path, file)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("LICENSE", b"another")
    for (path, words), answer in zip(cases, core.ask("verify", lines=[p for p, _ in cases]), strict=True):
        assert answer.get("kind") == "DAMAGED", (path.name, answer)
        assert words in answer["error"], (path.name, answer)


def test_a_link_to_nowhere_is_no_file(core: Any, sample_int4: Any, variant: Variant, tmp_path: Path) -> None:
    folder = variant(sample_int4.path, "nowhere", {"LICENSE": None})
    (folder / "LICENSE").symlink_to(tmp_path / "nowhere-at-all")
    (answer,) = core.ask("verify", lines=[folder])
    assert answer["kind"] == "DAMAGED"
    assert "LICENSE can't be read" in answer["error"]


def test_files_come_out_of_a_zip_as_they_were(core: Any, sample_int4: Any, tmp_path: Path) -> None:
    bundle, out = sample_int4.path, tmp_path / "out"
    answers = core.ask("extract", pack(bundle, tmp_path / "whole.gemcut"), out)
    assert len(answers) == len(files_of(bundle)) - 2
    for answer in answers:
        assert Path(answer["path"]).read_bytes() == (bundle / answer["name"]).read_bytes()
        assert answer["kept"]
        assert Path(answer["path"]).is_relative_to(out)
    assert not list(out.rglob("*.partial"))
    # What lies there changed is not used again.
    changed = next(Path(a["path"]) for a in answers if a["name"] == "LICENSE")
    changed.write_bytes(bytes(changed.stat().st_size))
    core.ask("extract", tmp_path / "whole.gemcut", out)
    assert changed.read_bytes() == (bundle / "LICENSE").read_bytes()


def sha(array: Any, kind: str) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, dtype=kind).tobytes()).hexdigest()


def test_goldens_are_read_alike(core: Any, bundle: Path) -> None:
    goldens = load_goldens({name: (bundle / name).read_bytes() for name in GOLDENS})
    recorded = load_recorded({name: (bundle / name).read_bytes() for name in RECORDED})
    answers = core.ask("goldens", bundle)
    assert len(answers) == len(goldens) >= 24
    for golden, host, answer in zip(goldens, recorded, answers, strict=True):
        assert answer == {
            "id": golden.prompt.id,
            "kind": golden.prompt.kind,
            "messages": list(golden.prompt.messages),
            "tools": list(golden.prompt.tools),
            "generation": golden.prompt.add_generation_prompt,
            "rendered": golden.rendered,
            "ids": sha(golden.ids, "<i4"),
            "prompt_length": len(golden.prompt_ids),
            "first": golden.first,
            "topk_ids": sha(golden.topk_ids, "<i4"),
            "topk_logprobs": sha(golden.topk_logprobs, "<f4"),
            "target_logprobs": sha(golden.target_logprobs, "<f4"),
            "greedy_ids": list(golden.greedy_ids),
            "greedy_text": golden.greedy_text,
            "ended": golden.ended,
            "margin": sha(golden.margin, "<f4"),
            "host": {
                "logprobs": sha(host.logprobs, "<f4"),
                "target_logprobs": sha(host.target_logprobs, "<f4"),
                "top1": sha(host.top1, "<i4"),
                "greedy_ids": list(host.greedy_ids),
                "greedy_text": host.greedy_text,
                "ended": host.ended,
            },
        }
