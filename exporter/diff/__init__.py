"""``gemcut diff``: what changed between two bundles, and whether it matters."""
