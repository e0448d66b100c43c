"""Move the locked packages to the newest that the manifest allows, and the lines to the newest of their series."""
