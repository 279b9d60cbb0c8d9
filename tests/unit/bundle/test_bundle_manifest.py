import json

import jsonschema
import pytest
from gemcut.bundle.manifest import (
    SCHEMA_FILE,
    Manifest,
    is_manifest,
    manifest_bytes,
    manifest_schema,
    read_manifest,
    schema_text,
    side_bytes,
)
from gemcut.errors import ConformanceError, UnsupportedError
from pydantic import ValidationError


def test_shipped_schema_is_current_and_takes_a_manifest(manifest: Manifest) -> None:
    assert SCHEMA_FILE.read_text() == schema_text()
    written = json.loads(manifest_bytes(manifest))
    jsonschema.validate(written, manifest_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**written, "surprise": 1}, manifest_schema())


def test_written_form_is_sorted_rounded_and_comes_back(manifest: Manifest) -> None:
    data = manifest_bytes(manifest)
    assert data.endswith(b"}\n")
    found = json.loads(data)
    assert list(found) == sorted(found)
    assert found["fidelity"]["mean_kl"] == 0.0123456789
    assert found["fidelity"]["p99_kl"] is None  # Infinity is no JSON.
    again = read_manifest(data, side_bytes(data), "b")
    assert manifest_bytes(again) == data


def test_manifest_is_frozen_and_takes_no_unknown_field(manifest: Manifest) -> None:
    with pytest.raises(ValidationError):
        manifest.target = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="made_at"):
        Manifest.model_validate({**manifest.model_dump(), "made_at": "today"})


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../b", "a//b", "", ".", "a\\b", "C:/x", "./a"])
def test_file_names_that_leave_the_bundle_are_refused(manifest: Manifest, name: str) -> None:
    record = {"sha256": "0" * 64, "size": 0}
    with pytest.raises(ValidationError, match="plain relative path"):
        Manifest.model_validate({**manifest.model_dump(), "files": {name: record}})


def test_newer_schema_says_upgrade_whether_or_not_its_hash_fits(manifest: Manifest) -> None:
    data = json.dumps({**json.loads(manifest_bytes(manifest)), "schema_version": 2, "new": True}).encode()
    for side in (side_bytes(data), b"something else"):
        with pytest.raises(UnsupportedError, match=r"manifest.json has schema version 2") as caught:
            read_manifest(data, side, "b")
        assert "upgrade gemcut" in str(caught.value.hint)
        assert caught.value.exit_code == 4
    assert is_manifest(data)


def test_any_flipped_byte_of_the_manifest_or_its_hash_is_found(manifest: Manifest) -> None:
    data = manifest_bytes(manifest)
    side = side_bytes(data)
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises((ConformanceError, UnsupportedError), match=r"manifest\.json"):
            read_manifest(flipped, side, "b")
    for at in range(len(side)):
        with pytest.raises(ConformanceError, match=r"manifest\.sha256"):
            read_manifest(data, side[:at] + bytes([side[at] ^ 1]) + side[at + 1 :], "b")


def test_manifest_with_a_fitting_hash_but_a_wrong_field_names_it(manifest: Manifest) -> None:
    data = json.dumps({**json.loads(manifest_bytes(manifest)), "context": -1}).encode()
    with pytest.raises(ConformanceError, match="context"):
        read_manifest(data, side_bytes(data), "b")
