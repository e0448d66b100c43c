"""``python -m prefect_env`` is ``prefect-env``."""

from prefect_env.cli import main

main()
