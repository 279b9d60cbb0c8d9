"""XNNPACK: the delegate that runs LiteRT's matrix products on a CPU."""

from __future__ import annotations

from ....quantize.recipe import Scheme
from ..schemes import check_scheme
from .base import LiteRTDelegate


class Xnnpack(LiteRTDelegate):
    """See ``LiteRTDelegate``."""

    name = "xnnpack"
    title = "XNNPACK"

    def check_scheme(self, scheme: Scheme, columns: int, name: str, gathered: bool) -> None:
        """See ``Delegate``."""
        check_scheme(scheme, columns, name, gathered)


DELEGATE = Xnnpack()
