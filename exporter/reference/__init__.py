"""The float oracle: transformers' own forward, greedily decoded."""
