"""The golden runner in C++: one source for ExecuTorch's wheel and, through shims, for Android's libraries."""
