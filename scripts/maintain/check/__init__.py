"""Check that what follows from the manifest agrees with it, without a network."""
