"""Fetch a checkpoint's folder from any place that fsspec knows, before ``gemcut export``.

    python fetch_weights.py s3://my-bucket/assistant/v7 models/assistant

Needs fsspec, and for a place its own package: s3fs for s3://, gcsfs for gs://, adlfs for abfs://. Each reads its usual
credentials from the environment, such as AWS_ACCESS_KEY_ID. A folder that is there already is left as it is, so that a
cache of it works; gemcut.lock says whether it is the right one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import fsspec


def fetch(url: str, folder: Path) -> int:
    """Download everything below a URL into a new folder, which is whole or not there; return the number of files."""
    source, root = fsspec.url_to_fs(url)
    files = sorted(source.find(root))
    if not any(name.rpartition("/")[2] == "config.json" for name in files):
        sys.exit(f"There is no config.json below {url}. Name the folder that save_pretrained wrote.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        whole = Path(work) / folder.name
        for name in files:
            place = whole / os.path.relpath(name, root)
            place.parent.mkdir(parents=True, exist_ok=True)
            print(f"{name}: {source.size(name) / 1e6:.1f} MB", flush=True)
            source.get_file(name, str(place))
        whole.rename(folder)
    return len(files)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python fetch_weights.py URL FOLDER")
    target = Path(sys.argv[2])
    if target.is_dir():
        print(f"{target} is there already.")
    else:
        print(f"{target}: {fetch(sys.argv[1], target)} files")
