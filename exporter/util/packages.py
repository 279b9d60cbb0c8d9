"""Versions of installed packages."""

from __future__ import annotations

import json
from importlib import metadata
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.version import Version


def public_version(name: str) -> str:
    """Return a package's version without its local part: ``+cpu`` says how a wheel was built, not what it computes.

    Args:
        name: The distribution's name.

    Raises:
        importlib.metadata.PackageNotFoundError: It isn't installed.
    """
    return Version(metadata.version(name)).public


def install_command(*extras: str) -> str:
    """Return the command that installs Gemcut's extras the way that Gemcut itself was installed.

    pip writes that beside an installed distribution, as direct_url.json (PEP 610): a checkout that is used in place, a
    folder, or an archive. Without that file it came from an index.
    """
    name = f"gemcut[{','.join(extras)}]"
    # In a checkout's folder, what setuptools left there is found before what pip installed.
    texts = (found.read_text("direct_url.json") for found in metadata.distributions(name="gemcut"))
    written = json.loads(next(filter(None, texts), "{}"))
    url = urlsplit(written.get("url", ""))
    if url.scheme != "file":
        return f"pip install '{name}'"
    place = f"{url2pathname(url.path)}[{','.join(extras)}]"
    return f"pip install -e '{place}'" if written.get("dir_info", {}).get("editable") else f"pip install '{place}'"
