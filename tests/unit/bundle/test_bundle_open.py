import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from gemcut.bundle import archive
from gemcut.bundle.archive import ALIGNMENT, check_archive, data_offset, write_archive
from gemcut.bundle.manifest import Manifest, side_bytes
from gemcut.bundle.reader import open_bundle
from gemcut.bundle.staging import Format, pack
from gemcut.errors import ConformanceError, GemcutError, UnsupportedError, UsageError

Files = dict[str, Path | bytes]
FORMATS: list[Format] = ["dir", "zip"]


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.write_bytes(data)


def _open_and_verify(path: Path) -> None:
    with open_bundle(path) as bundle:
        bundle.verify()


@pytest.mark.parametrize("format", FORMATS)
def test_packed_bundle_opens_reads_and_verifies(
    tmp_path: Path, files: Files, manifest: Manifest, format: Format
) -> None:
    out = pack(files, manifest, tmp_path / "out.gemcut", format)
    with open_bundle(out) as bundle:
        bundle.verify()
        assert set(bundle.manifest.files) == set(files)
        assert bundle.is_zip == (format == "zip")
        program = bundle.program
        assert program.read_bytes() == Path(files["model.pte"]).read_bytes()  # type: ignore[arg-type]
        assert bundle.read("goldens/goldens.jsonl") == b"{}\n"
        path, offset, size = bundle.locate("model.pte")
        assert offset % ALIGNMENT == 0
        assert path.read_bytes()[offset : offset + size] == program.read_bytes()
        with pytest.raises(ConformanceError, match="holds no nothing"):
            bundle.read("nothing")
    assert program.exists() == (format == "dir")  # What was extracted goes away.


def test_two_packs_give_the_same_bytes_and_every_member_is_aligned(
    tmp_path: Path, files: Files, manifest: Manifest
) -> None:
    one = pack(files, manifest, tmp_path / "one.gemcut", "zip")
    two = pack(dict(reversed(files.items())), manifest, tmp_path / "deep" / "two.gemcut", "zip")
    assert _sha(one) == _sha(two)
    with zipfile.ZipFile(one) as opened, one.open("rb") as raw:
        assert opened.testzip() is None
        names = opened.namelist()
        assert names == sorted(names)
        for info in opened.infolist():
            assert data_offset(raw, info) % ALIGNMENT == 0
            assert info.compress_type == zipfile.ZIP_STORED


def test_two_folders_hold_the_same_bytes(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    folders = [pack(files, manifest, tmp_path / name) for name in ("a", "b")]
    contents = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders]
    assert contents[0] == contents[1]


def test_a_flipped_byte_in_any_file_of_a_folder_is_found_and_named(
    tmp_path: Path, files: Files, manifest: Manifest
) -> None:
    out = pack(files, manifest, tmp_path / "out")
    for path in sorted(p for p in out.rglob("*") if p.is_file() and p.stat().st_size):
        size = path.stat().st_size
        for at in {0, size // 3, size // 2, size - 1}:
            _flip(path, at)
            with pytest.raises(GemcutError) as caught:
                _open_and_verify(out)
            assert caught.value.exit_code in (4, 6)
            assert path.name in caught.value.message
            assert caught.value.hint
            _flip(path, at)
    _open_and_verify(out)


def test_a_flipped_byte_anywhere_in_a_zip_is_found(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    out = pack({**files, "model.pte": b"program"}, manifest, tmp_path / "out.gemcut", "zip")
    size = out.stat().st_size
    with zipfile.ZipFile(out) as opened, out.open("rb") as raw:
        directory = opened.start_dir
        headers = [i.header_offset for i in opened.infolist()]
        data = [data_offset(raw, i) for i in opened.infolist()]
    places = {at for start in headers for at in range(start, start + 60)}  # Each field of each header.
    places |= {at - 1 for at in data} | {at for at in data if at < directory}
    places |= set(range(directory, size)) | set(range(0, size, 4999))  # The directory, and padding.
    for at in sorted(places):
        _flip(out, at)
        with pytest.raises(GemcutError) as caught:
            _open_and_verify(out)
        assert caught.value.exit_code in (4, 6), f"byte {at}: {caught.value.message}"
        assert caught.value.hint
        _flip(out, at)
    _open_and_verify(out)


def test_zip_that_was_cut_or_grew_is_found(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    out = pack(files, manifest, tmp_path / "out.gemcut", "zip")
    whole = out.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:-1], whole + b"x", b"x" + whole):
        out.write_bytes(data)
        with pytest.raises(ConformanceError, match=r"out\.gemcut"):
            _open_and_verify(out)


def test_zip_packed_by_another_tool_is_found(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    out = pack(files, manifest, tmp_path / "out.gemcut", "zip")
    other = tmp_path / "other.gemcut"
    with zipfile.ZipFile(out) as source, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(ConformanceError, match="was changed"):
        _open_and_verify(other)


def test_large_members_get_zip64_headers_and_stay_aligned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)  # As if the archive were past 4 GB.
    source = tmp_path / "large"
    source.write_bytes(b"z" * 5000)
    members = {name: (5000, lambda: source.open("rb")) for name in ("a", "b", "c")}
    path = tmp_path / "large.zip"
    with path.open("wb") as sink:
        write_archive(sink, members)
    check_archive(path)
    monkeypatch.undo()
    with zipfile.ZipFile(path) as opened, path.open("rb") as raw:
        assert opened.testzip() is None
        for info in opened.infolist():
            assert data_offset(raw, info) % ALIGNMENT == 0
            assert info.extract_version >= zipfile.ZIP64_VERSION
    assert archive.ALIGNMENT == 16384


@pytest.mark.parametrize("name", ["model.pte", "tokenizer.json", "manifest.json", "manifest.sha256"])
def test_missing_file_is_named(tmp_path: Path, files: Files, manifest: Manifest, name: str) -> None:
    out = pack(files, manifest, tmp_path / "out")
    (out / name).unlink()
    with pytest.raises(ConformanceError, match=f"{name} is missing"):
        _open_and_verify(out)


@pytest.mark.parametrize("name", ["extra.txt", "goldens/extra.txt", "new/extra.txt"])
def test_extra_file_is_named(tmp_path: Path, files: Files, manifest: Manifest, name: str) -> None:
    out = pack(files, manifest, tmp_path / "out")
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("x")
    with pytest.raises(ConformanceError, match=f"{name} doesn't belong"):
        _open_and_verify(out)


def test_truncated_program_is_named(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    out = pack(files, manifest, tmp_path / "out")
    program = out / "model.pte"
    program.write_bytes(program.read_bytes()[:-100])
    with pytest.raises(ConformanceError, match=r"model.pte is truncated: 76,700 bytes instead of 76,800"):
        _open_and_verify(out)


def test_swapped_tokenizer_is_named(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    out = pack(files, manifest, tmp_path / "out")
    (out / "tokenizer.json").write_bytes(b'{"version": "2.0"}')
    with pytest.raises(ConformanceError, match=r"tokenizer.json was changed or swapped"):
        _open_and_verify(out)


def test_newer_bundle_is_refused_with_the_way_out(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    out = pack(files, manifest, tmp_path / "out")
    data = json.dumps({**json.loads((out / "manifest.json").read_text()), "schema_version": 7}).encode()
    (out / "manifest.json").write_bytes(data)
    (out / "manifest.sha256").write_bytes(side_bytes(data))
    with pytest.raises(UnsupportedError) as caught:
        open_bundle(out)
    assert "manifest.json has schema version 7" in caught.value.message
    assert caught.value.hint == "upgrade gemcut: pip install --upgrade gemcut"


def test_what_is_no_bundle_is_said_plainly(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    with pytest.raises(UsageError, match="there is no"):
        open_bundle(tmp_path / "nowhere")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="is a checkpoint") as caught:
        open_bundle(tmp_path / "checkpoint")
    assert "gemcut export" in str(caught.value.hint)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "manifest.json").write_text('{"name": "a web app"}')
    (tmp_path / "notes.txt").write_text("hello")
    plain = tmp_path / "plain.zip"
    with zipfile.ZipFile(plain, "w") as other:
        other.writestr("a", "b")
    for path in (tmp_path / "web", tmp_path / "notes.txt", plain):
        with pytest.raises(UsageError, match="is not a bundle"):
            open_bundle(path)


def test_a_zip_that_became_a_folder_is_still_a_bundle(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    packed = pack(files, manifest, tmp_path / "out.gemcut", "zip")
    with zipfile.ZipFile(packed) as opened:
        opened.extractall(tmp_path / "unpacked")
    _open_and_verify(tmp_path / "unpacked")
    shutil.rmtree(tmp_path / "unpacked" / "goldens")
    with pytest.raises(ConformanceError, match=r"goldens/goldens.jsonl is missing"):
        _open_and_verify(tmp_path / "unpacked")
