"""Mirrors: exactly what environments of a lock need, as a channel folder."""
