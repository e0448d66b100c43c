"""What maintainers and installers run from a clone; nothing in here reaches a user's prefix."""
