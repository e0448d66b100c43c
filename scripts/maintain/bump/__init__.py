"""Move the locked packages to the newest that the manifest allows."""
