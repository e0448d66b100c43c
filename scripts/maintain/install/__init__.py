"""Install an environment without pixi or conda: :func:`install` and what it needs to know."""

from maintain.install.choice import Choice, choose
from maintain.install.engine import Result, default_prefix, install

__all__ = ["Choice", "Result", "choose", "default_prefix", "install"]
