"""Run what is locked: its Python packages as wheels, beside Debian's libraries, against a real server."""
