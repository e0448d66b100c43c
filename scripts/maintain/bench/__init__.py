"""``scripts/bench``: our figures beside a peer's, measured in the same run; ratios, never bounds in seconds."""
