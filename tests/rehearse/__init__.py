"""What the tests of this folder share is in sets.py."""
