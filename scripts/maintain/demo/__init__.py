"""``scripts/demo``: from nothing to a first flow, in one command."""
