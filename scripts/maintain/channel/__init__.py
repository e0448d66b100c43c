"""The stand-in channel: conda-forge's package names, filled from Debian's archive and the Python index."""
