"""Patches of ExecuTorch 1.5, one module each, bound to the version that they were written against."""
