"""Safetensors: damaged, incomplete and foreign files are refused before a weight is mapped."""

from __future__ import annotations

import json

import pytest
import torch
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.checkpoint.tensors import open_tensors, read_header
from gemcut.errors import CheckpointError, UnsupportedError


def write_raw(path, header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


def split(path):
    """The header and the data of a safetensors file."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def refused(folder, message, kind=CheckpointError, code=3):
    with pytest.raises(kind, match=message) as caught:
        open_checkpoint(str(folder))
    assert caught.value.exit_code == code
    assert caught.value.hint
    return caught.value


def test_tensors_are_read_across_shards_one_at_a_time(pristine, load_all):
    folder = pristine("gemma3_text")
    index = open_tensors(folder)
    everything = load_all(folder)
    assert index.names() == tuple(sorted(everything))
    assert len(index.shards) == len(list(folder.glob("model-*.safetensors"))) > 2
    for name, tensor in everything.items():
        assert torch.equal(index.get(name), tensor)
        assert index.shape(name) == tuple(tensor.shape)
        assert index.dtype(name) == "BF16"
    assert index.total_bytes == sum(tensor.nbytes for tensor in everything.values())


def test_unknown_tensor_is_answered_with_the_nearest(pristine):
    index = open_tensors(pristine("gemma3_text"))
    with pytest.raises(
        CheckpointError, match=r"'model\.norm\.wait' in the checkpoint; did you mean 'model\.norm\.weight'\?"
    ):
        index.get("model.norm.wait")


def test_missing_shard_is_named_with_what_it_holds(fresh):
    folder = fresh()
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    first = next(iter(split(shard)[0].keys() - {"__metadata__"}))
    shard.unlink()
    error = refused(folder, rf"shard {shard.name} is missing from .*: model\.safetensors\.index\.json puts \d+")
    assert shard.name in error.hint
    assert first.startswith("model.")


def test_index_that_names_a_tensor_its_shard_lacks(fresh):
    folder = fresh()
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = sorted(set(index["weight_map"].values()))
    index["weight_map"]["model.norm.weight"] = shards[0]
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, rf"puts tensor 'model\.norm\.weight' in {shards[0]}, which doesn't hold it")


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "{}"])
def test_index_that_is_no_index(fresh, content):
    folder = fresh()
    (folder / "model.safetensors.index.json").write_text(content)
    refused(folder, r"model\.safetensors\.index\.json (can't be read|has no weight_map)")


def test_index_may_not_lead_outside_the_directory(fresh):
    folder = fresh()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../other/model.safetensors"}}')
    refused(folder, r"names a shard outside its directory: '\.\./other/model\.safetensors'")


def test_shards_without_their_index(fresh):
    folder = fresh()
    (folder / "model.safetensors.index.json").unlink()
    refused(folder, r"holds model-00001-of-\d+\.safetensors but no model\.safetensors\.index\.json")


def test_truncated_shard_names_file_and_tensor(fresh):
    folder = fresh()
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    header, data = split(shard)
    last = max((row["data_offsets"][1], name) for name, row in header.items() if name != "__metadata__")[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    error = refused(folder, rf"{shard.name}: tensor '{last}' ends at byte {len(data)}")
    assert str(len(data) - 100) in str(error)


def test_header_that_claims_more_than_the_file_holds(fresh):
    folder = fresh()
    shard = sorted(folder.glob("model-*.safetensors"))[0]
    content = shard.read_bytes()
    shard.write_bytes((10**12).to_bytes(8, "little") + content[8:])
    refused(folder, rf"{shard.name}: the header claims 1000000000000 bytes, but the file holds {len(content) - 8}")


def test_tensor_that_claims_more_than_the_file_holds(fresh):
    folder = fresh()
    shard = sorted(folder.glob("model-*.safetensors"))[0]
    header, data = split(shard)
    name = max((row["data_offsets"][1], name) for name, row in header.items() if name != "__metadata__")[1]
    header[name]["shape"][0] += 1000
    first, _ = header[name]["data_offsets"]
    rows, *rest = header[name]["shape"]
    header[name]["data_offsets"][1] = first + rows * (rest[0] if rest else 1) * 2
    write_raw(shard, header, data)
    refused(folder, rf"{shard.name}: tensor '{name}' ends at byte \d+ of the data, the file holds {len(data)}")


ROW = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (b"{not json", b"", "header is not JSON"),
        (b"\xff\xfe\x00", b"", "header is not JSON"),
        (b"[1]", b"", "not a JSON object"),
        (b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}, "a": 1}', bytes(8), "'a' appears twice"),
        ({"a": 3}, b"", "tensor 'a' has no valid shape"),
        ({"a": ROW | {"shape": [-2]}}, bytes(8), "tensor 'a' has no valid shape"),
        ({"a": ROW | {"shape": [True]}}, bytes(8), "tensor 'a' has no valid shape"),
        ({"a": ROW | {"data_offsets": [0]}}, bytes(8), "tensor 'a' has no valid shape"),
        ({"a": ROW | {"shape": [3]}}, bytes(8), r"tensor 'a' of F32 \[3\] can't be 8 bytes"),
        ({"a": ROW, "b": ROW}, bytes(8), "tensor 'b' starts at byte 0 of the data, not at 8"),
        ({"a": ROW, "b": ROW | {"data_offsets": [12, 20]}}, bytes(20), "'b' starts at byte 12 .*, not at 8"),
        ({"a": ROW}, bytes(11), "3 bytes follow the last tensor"),
        ({"a": ROW}, bytes(4), "tensor 'a' ends at byte 8 of the data, the file holds 4"),
    ],
)
def test_corrupt_header_names_the_file_and_what_is_wrong(tmp_path, header, data, message):
    write_raw(tmp_path / "model.safetensors", header, data)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{message}") as caught:
        read_header(tmp_path / "model.safetensors")
    assert caught.value.exit_code == 3


def test_sound_header_agrees_with_the_library(tmp_path):
    from safetensors.torch import save_file

    save_file({"b": torch.ones(2, 3), "a": torch.zeros(0), "c": torch.tensor(1)}, tmp_path / "x.safetensors")
    entries = read_header(tmp_path / "x.safetensors")
    assert {name: (entry.dtype, entry.shape) for name, entry in entries.items()} == {
        "a": ("F32", (0,)),
        "b": ("F32", (2, 3)),
        "c": ("I64", ()),
    }


def test_unknown_dtype_is_unsupported_and_named(tmp_path):
    write_raw(tmp_path / "x.safetensors", {"a": ROW | {"dtype": "F4"}}, bytes(8))
    with pytest.raises(UnsupportedError, match="tensor 'a' is of dtype 'F4'"):
        read_header(tmp_path / "x.safetensors")


def test_empty_file_and_git_lfs_pointer_say_so(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"a\.safetensors is 0 bytes"):
        read_header(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match="Git LFS pointer") as caught:
        read_header(tmp_path / "b.safetensors")
    assert "git lfs pull" in caught.value.hint


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_pickle_only_checkpoint_is_refused_with_the_way_to_safetensors(fresh, name):
    folder = fresh()
    for file in folder.glob("model*.safetensors*"):
        file.unlink()
    torch.save({"a": torch.ones(1)}, folder / name)
    error = refused(folder, rf"exist only as pickle \({name}\)", UnsupportedError, 4)
    assert "save_pretrained" in error.hint


def test_gguf_is_refused_by_name(fresh):
    folder = fresh()
    for file in folder.glob("model*.safetensors*"):
        file.unlink()
    (folder / "model-q4_0.gguf").write_bytes(b"GGUF")
    refused(folder, r"model-q4_0\.gguf is GGUF, already quantized", UnsupportedError, 4)
    (folder / "config.json").unlink()
    refused(folder, r"model-q4_0\.gguf is GGUF", UnsupportedError, 4)


def test_weights_that_are_a_dangling_link_or_a_directory(fresh):
    folder = fresh()
    for file in folder.glob("model*.safetensors*"):
        file.unlink()
    (folder / "model.safetensors").symlink_to("gone")
    refused(folder, r"model\.safetensors is a link to a file that is gone")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    refused(folder, r"model\.safetensors can't be read: Is a directory")


def test_no_weights_and_adapter_weights_alone(fresh):
    folder = fresh()
    for file in folder.glob("model*.safetensors*"):
        file.unlink()
    refused(folder, r"has no model\.safetensors and no model\.safetensors\.index\.json")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    error = refused(folder, r"has no model\.safetensors; adapter_model\.safetensors is not a whole model's")
    assert "--adapter" in error.hint
