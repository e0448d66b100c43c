"""The tiny channel, and a project that is locked from it."""

from support.tiny_project import project, records

__all__ = ["project", "records"]
