"""Bundles: an environment as one file, and the installer that needs nothing of its target.

The modules that ``engine`` lists run on the target, on the Python that the bundle carries (3.11 or newer) and its
standard library alone; the others run in a clone. Why it is made so: scripts/OFFLINE.md.
"""
