"""The one command that runs all tests on a fresh machine."""
