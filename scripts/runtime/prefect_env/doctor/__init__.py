"""``prefect-env doctor``: small checks that say what is wrong, why, and the command that mends it."""
