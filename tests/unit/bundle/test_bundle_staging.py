import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gemcut.bundle import staging as module
from gemcut.bundle.manifest import Manifest
from gemcut.bundle.reader import open_bundle
from gemcut.bundle.staging import Format, Staging, check_output, pack
from gemcut.errors import ConformanceError, LackingError, UsageError

Files = dict[str, Path | bytes]
FORMATS: list[Format] = ["dir", "zip"]


def _listing(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_not_ours_is_never_replaced(tmp_path: Path, files: Files, manifest: Manifest, format: Format) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_text("cat")
    (tmp_path / "letter").write_text("dear")
    before = _listing(tmp_path)
    for out in (folder, tmp_path / "letter"):
        for force in (False, True):
            with pytest.raises(UsageError, match=f"{out.name} exists and is not a gemcut bundle") as caught:
                pack(files, manifest, out, format, force)
            assert "-o" in str(caught.value.hint)
    assert _listing(tmp_path) == before


@pytest.mark.parametrize("format", FORMATS)
def test_a_bundle_is_replaced_only_with_force(tmp_path: Path, files: Files, manifest: Manifest, format: Format) -> None:
    out = pack(files, manifest, tmp_path / "o" / "out", format)
    with pytest.raises(UsageError, match="already holds a bundle") as caught:
        check_output(out, format)
    assert "--force" in str(caught.value.hint)
    for other in FORMATS:
        pack({"model.pte": b"new"}, manifest, out, other, force=True)
        with open_bundle(out) as bundle:
            bundle.verify()
            assert set(bundle.manifest.files) == {"model.pte"}
    assert os.listdir(out.parent) == ["out"]


def test_a_bundle_that_holds_somebodys_notes_is_not_replaced(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    out = pack(files, manifest, tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt in it is not gemcut's"):
        check_output(out, force=True)


def test_outputs_that_cannot_be_written_are_found_up_front(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        check_output(tmp_path / "file" / "below" / "out")
    assert check_output(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()
    (tmp_path / "empty").mkdir()
    assert check_output(tmp_path / "empty") == tmp_path / "empty"
    with pytest.raises(UsageError):
        check_output(tmp_path / "empty", "zip")


def test_staged_bundle_can_be_run_before_it_is_published(tmp_path: Path, manifest: Manifest) -> None:
    out = tmp_path / "deep" / "out"
    with Staging(out) as staging:
        program = staging.work / "program"
        program.write_bytes(b"program")
        staging.add("model.pte", program, how="move")
        assert not program.exists()
        with staging.draft(manifest) as bundle:
            bundle.verify()
            assert bundle.program.read_bytes() == b"program"
        staging.add("goldens/recorded.jsonl", b"first")
        staging.add("goldens/recorded.jsonl", b"second")
        assert not out.exists()
        staging.publish(manifest.model_copy(update={"proven": False, "unproven": ("gate: report",)}))
    with open_bundle(out) as bundle:
        bundle.verify()
        assert bundle.read("goldens/recorded.jsonl") == b"second"
        assert bundle.manifest.unproven == ("gate: report",)
    assert os.listdir(out.parent) == ["out"]
    assert (out / "model.pte").stat().st_mode & 0o777 == 0o644


def test_a_link_shares_and_a_copy_does_not(tmp_path: Path, manifest: Manifest) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"program")
    with Staging(tmp_path / "out") as staging:
        staging.add("model.pte", source, how="link")
        staging.add("copy", source)
        staging.publish(manifest)
    assert (tmp_path / "out" / "model.pte").stat().st_ino == source.stat().st_ino
    assert (tmp_path / "out" / "copy").stat().st_ino != source.stat().st_ino


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "../up", "/abs"])
def test_a_name_that_the_bundle_writes_or_that_leaves_it_is_refused(tmp_path: Path, name: str) -> None:
    with Staging(tmp_path / "out") as staging, pytest.raises(ValueError, match=r"plain|itself"):
        staging.add(name, b"")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("lowering failed")])
def test_nothing_is_left_of_a_run_that_fails(
    tmp_path: Path, files: Files, manifest: Manifest, format: Format, error: BaseException
) -> None:
    pack(files, manifest, tmp_path / "out", format)
    before = _listing(tmp_path)

    def run() -> None:
        for out in (tmp_path / "out", tmp_path / "new" / "out"):
            with Staging(out, format, force=True) as staging:
                staging.add("model.pte", b"half")
                raise error

    with pytest.raises(type(error)):
        run()
    assert _listing(tmp_path) == before


def test_the_old_bundle_comes_back_when_the_new_one_cannot_be_put_in_place(
    tmp_path: Path, files: Files, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = pack(files, manifest, tmp_path / "out")
    before = _listing(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "the disk died")

    monkeypatch.setattr(module.os, "replace", refuse)
    with pytest.raises(UsageError, match="the disk died"):
        pack({"model.pte": b"new"}, manifest, out, force=True)
    assert _listing(tmp_path) == before


def test_a_file_that_changes_after_it_was_added_is_found(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    for format in FORMATS:
        with Staging(tmp_path / "out", format) as staging:
            staging.add("model.pte", b"program")
            (staging.folder / "model.pte").write_bytes(b"prognam")
            with pytest.raises(ConformanceError, match=r"model\.pte"):
                staging.publish(manifest)
    assert os.listdir(tmp_path) == ["source.pte"]


def test_two_runs_to_one_place_do_not_meet(tmp_path: Path, manifest: Manifest) -> None:
    with Staging(tmp_path / "out") as first:
        first.add("model.pte", b"program")
        with pytest.raises(UsageError), Staging(tmp_path / "out"):
            pass
        assert (first.folder / "model.pte").read_bytes() == b"program"
        first.publish(manifest)


_KILLED = """
import sys, time
from pathlib import Path
from gemcut.bundle.staging import Staging
with Staging(Path(sys.argv[1])) as staging:
    staging.add("model.pte", b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_run_left_goes_with_the_next_run(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    out = tmp_path / "o" / "out"
    with subprocess.Popen([sys.executable, "-c", _KILLED, str(out)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert module.clear_abandoned(out) == []  # It lives.
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = [p.name for p in out.parent.iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".out.partial-")
    pack(files, manifest, out)
    assert os.listdir(out.parent) == ["out"]


_KILLED_LATE = """
import sys, time
from pathlib import Path
from gemcut.bundle.staging import Staging
with Staging(Path(sys.argv[1]), key="the same") as staging:
    staging.add("model.pte", b"half")
    (staging.work / "scratch").write_bytes(b"scratch")
    (staging.kept / "stage").mkdir(parents=True)
    (staging.kept / "stage" / "product").write_bytes(b"product")
    print("ready", flush=True)
    time.sleep(60)
"""


def _left_by_a_killed_run(out: Path) -> Path:
    with subprocess.Popen([sys.executable, "-c", _KILLED_LATE, str(out)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            with pytest.raises(UsageError, match="another run"), Staging(out, key="the same"):
                pass  # it lives: nothing of it is touched
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    (left,) = out.parent.iterdir()
    return left


def test_a_run_with_the_same_key_takes_over_what_was_kept_and_nothing_else(tmp_path: Path, manifest: Manifest) -> None:
    out = tmp_path / "o" / "out"
    left = _left_by_a_killed_run(out)
    with Staging(out, key="the same") as staging:
        assert not left.exists()
        assert (staging.kept / "stage" / "product").read_bytes() == b"product"
        assert not list(staging.work.iterdir())
        assert not list(staging.folder.iterdir())
        assert module.clear_abandoned(out) == [], "it has an owner again"
        staging.add("model.pte", b"program")
        staging.publish(manifest)
    assert os.listdir(out.parent) == ["out"]


@pytest.mark.parametrize(("key", "fresh"), [("another", False), (None, False), ("the same", True)])
def test_any_other_run_removes_it(tmp_path: Path, key: str | None, fresh: bool) -> None:
    out = tmp_path / "o" / "out"
    left = _left_by_a_killed_run(out)
    with Staging(out, key=key, fresh=fresh) as staging:
        assert not staging.kept.exists()
        assert not left.exists()
    assert not list(out.parent.iterdir())


def test_nothing_is_taken_over_through_a_link_or_from_another_user(tmp_path: Path) -> None:
    out = tmp_path / "o" / "out"
    partial = tmp_path / "o" / ".out.partial-99"
    (tmp_path / "elsewhere").mkdir()
    partial.mkdir(parents=True)
    (partial / "key").write_text("the same")
    (partial / "kept").symlink_to(tmp_path / "elsewhere")
    with Staging(out, key="the same") as staging:
        assert not staging.kept.exists()
    assert (tmp_path / "elsewhere").is_dir()
    if os.geteuid() == 0:
        (partial / "kept").mkdir(parents=True)
        (partial / "key").write_text("the same")
        os.chown(partial, 65534, 65534)
        with Staging(out, key="the same") as staging:
            assert not staging.kept.exists()


def test_of_two_that_were_killed_one_is_taken_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (98, 99):
        (tmp_path / f".out.partial-{number}" / "kept" / f"stage-{number}").mkdir(parents=True)
        (tmp_path / f".out.partial-{number}" / "key").write_text("the same")
    with Staging(out, key="the same") as staging:
        assert len(list(staging.kept.iterdir())) == 1
        assert len(list(tmp_path.glob(".out.partial-*"))) == 1
    assert not list(tmp_path.iterdir())


def begun(code: str, out: Path) -> subprocess.Popen[bytes]:
    """A process that has said "ready", in which Ctrl-C works."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell that runs the tests in the background hands on an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.1)
    return process


def test_interrupt_of_a_real_process_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "o" / "out"
    with begun(_KILLED, out) as process:
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert list(tmp_path.iterdir()) == []


_SLOW_TO_TIDY = """
import shutil, sys, time
from pathlib import Path
from gemcut.bundle.staging import Staging
from gemcut.util.interrupts import take_signals
remove = shutil.rmtree
def slowly(*words, **named):
    print("tidying", flush=True)
    time.sleep(1)
    remove(*words, **named)
shutil.rmtree = slowly
take_signals()
try:
    with Staging(Path(sys.argv[1])) as staging:
        staging.add("model.pte", b"half")
        print("ready", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_while_an_interrupted_run_tidies_up_change_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with begun(_SLOW_TO_TIDY, tmp_path / "o" / "out") as process:
        assert process.stdout is not None
        process.send_signal(number)
        assert process.stdout.readline() == b"tidying\n"
        for _ in range(4):
            process.send_signal(number)
            time.sleep(0.05)
        said, errors = process.communicate(timeout=60)
    assert (said, errors, process.returncode) == (b"interrupted\n", b"", 0)
    assert list(tmp_path.iterdir()) == []


def test_the_second_of_two_runs_to_one_place_is_told_at_its_start(tmp_path: Path) -> None:
    out = tmp_path / "o" / "out"
    with subprocess.Popen([sys.executable, "-c", _KILLED, str(out)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            for begin in (lambda: module.check_output(out), lambda: Staging(out, key="mine").__enter__()):
                with pytest.raises(UsageError, match="another run of gemcut is making a bundle for") as caught:
                    begin()
                assert "-o" in str(caught.value.hint)
            with Staging(tmp_path / "o" / "another"):
                pass
        finally:
            process.kill()
            process.wait()
    with Staging(out, key="mine"):
        assert len(list(out.parent.glob(".out.partial-*"))) == 1


def test_what_a_killed_run_left_where_nothing_can_be_locked_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "no locks here")

    out = tmp_path / "out"
    (tmp_path / ".out.partial-7").mkdir()
    (tmp_path / ".out.partial-7" / "key").write_text("")
    monkeypatch.setattr("gemcut.bundle.workdir.fcntl.flock", without)
    with Staging(out, key="mine") as staging:
        assert staging.folder.is_dir()


def test_a_signal_after_a_bundle_was_published_is_too_late(tmp_path: Path, manifest: Manifest, files: Files) -> None:
    place, old = tmp_path / "out", signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    remove = shutil.rmtree
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shutil, "rmtree", lambda *words: (os.kill(os.getpid(), signal.SIGINT), remove(*words)))
            pack(files, manifest, place)
    finally:
        signal.signal(signal.SIGINT, old)
    assert place.is_dir()
    assert not list(tmp_path.glob(".out.partial-*"))


def test_of_two_runs_that_begin_at_once_the_earlier_goes_on(tmp_path: Path) -> None:
    from gemcut.bundle import workdir

    out, folders, handles = tmp_path / "out", [], []
    for number, when in ((7, 2000), (8, 1000), (9, None)):  # the last has no key yet
        folder = tmp_path / f".out.partial-{number}"
        folder.mkdir()
        if when is not None:
            (folder / "key").write_text("")
            os.utime(folder / "key", (when, when))
        folders.append(folder)
        handles.append(workdir.lock(folder))
    later, earlier, keyless = folders
    assert workdir.writer_beside(out, earlier) is None
    assert workdir.writer_beside(out, later) == earlier
    assert workdir.writer_beside(out, keyless) == later
    for handle in handles:
        assert handle is not None
        os.close(handle)
    assert workdir.writer_beside(out, later) is None


def test_a_bundle_set_aside_by_a_killed_run_comes_back(tmp_path: Path, files: Files, manifest: Manifest) -> None:
    out = pack(files, manifest, tmp_path / "out")
    before = _listing(out)
    partial = tmp_path / ".out.partial-99"
    partial.mkdir()
    out.rename(partial / "replaced")
    assert module.clear_abandoned(out) == [partial]
    assert _listing(out) == before


def test_a_filesystem_without_room_for_the_file_says_how_much_is_needed(tmp_path: Path, manifest: Manifest) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(300_000))
    out = tmp_path / "o" / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(LackingError, match="300,000 bytes"):
            pack({"model.pte": big}, manifest, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert not out.parent.exists()


_FULL = """
import os, sys
from pathlib import Path
from gemcut.bundle.manifest import Manifest
from gemcut.bundle.staging import Staging, pack
from gemcut.errors import LackingError
disk, manifest = Path(sys.argv[1]), Manifest.model_validate_json(Path(sys.argv[2]).read_bytes())
pack({"model.pte": b"old"}, manifest, disk / "out")
before = sorted(os.listdir(disk))
def fill_work():
    with Staging(disk / "other") as staging:
        (staging.work / "logits").write_bytes(bytes(400_000))
for attempt in (lambda: pack({"model.pte": bytes(300_000)}, manifest, disk / "out", "dir", True),
                lambda: pack({"model.pte": bytes(150_000)}, manifest, disk / "new", "zip"), fill_work):
    try:
        attempt()
    except LackingError as error:
        print(error.exit_code, error.message)
    else:
        sys.exit("no error")
    assert sorted(os.listdir(disk)) == before, os.listdir(disk)
    assert (disk / "out" / "model.pte").read_bytes() == b"old"
"""


def test_full_disk_is_said_with_figures_and_leaves_everything_as_it_was(tmp_path: Path, manifest: Manifest) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs unshare and user namespaces for a small disk of its own")
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "manifest").write_bytes(manifest.model_dump_json().encode())
    (tmp_path / "script.py").write_text(_FULL)
    command = f'mount -t tmpfs -o size=256k none "{disk}" && "{sys.executable}" script.py "{disk}" manifest'
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", command], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("8 the disk is full") and "are free" in line for line in lines)
    assert "needs 300,000 bytes" in lines[0]
