"""What Gemcut has on the disk: bundles, and what it keeps between runs."""
