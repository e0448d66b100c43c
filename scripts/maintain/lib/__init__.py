"""What every tool shares: errors, console, files, paths, network."""
