"""Recipes of our packages: generated from the manifest, the lines' data and the wheels' own metadata; built, tested."""
