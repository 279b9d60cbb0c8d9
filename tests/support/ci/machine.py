"""What a hosted machine of a CI service is, made of this one: its folders, its Python, its variables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
APP = ROOT / "tests" / "app_repo"
DOCS = ROOT / "docs" / "guides" / "ci"
# Variables of this machine that a hosted one hasn't; PIP_ ones are set below.
OURS = ("PYTHON", "GEMCUT", "GITHUB", "RUNNER", "CI", "PIP_", "VIRTUAL_ENV")


def bare_venv(folder: Path) -> Path:
    """An environment whose pip and libraries are this one's, at the end of the path; what is installed is its own."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # site.addsitedir would run this environment's .pth files, and its editable gemcut would come first.
    (site / "others.pth").write_text("\n".join(sorted(own)) + "\n")
    return folder


def environment(home: Path) -> dict[str, str]:
    """The variables of a fresh machine. pip has no index and builds with what is installed: the network isn't asked."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {
        **found,
        "HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's spelling of yes
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_CACHE_DIR": str(home / ".cache" / "pip"),
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def check_out(folder: Path) -> Path:
    """A fresh copy of the sample app, as actions/checkout leaves it."""
    return Path(shutil.copytree(APP, folder, ignore=shutil.ignore_patterns("bundles", "gemcut-reports")))
