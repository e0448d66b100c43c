"""Prefect as it is in git: an environment with a package of one revision, or with an editable checkout."""
