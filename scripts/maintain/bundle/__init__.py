"""Bundles: an environment as one file, and the installer that needs nothing of its target.

``layout``, ``zstd``, ``ed25519``, ``link`` and ``target`` run on the target, on the Python that the bundle carries
(3.11 or newer) and its standard library alone; the other modules run in a clone. Why it is made so: scripts/OFFLINE.md.
"""
