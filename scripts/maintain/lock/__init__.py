"""Solve the manifest's environments, write pixi.lock and what follows from it."""
