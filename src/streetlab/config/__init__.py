"""Configuration: typed roots, command-line overrides and the objects that a config names."""

from streetlab.config.targets import bind, instantiate, instantiate_with
from streetlab.config.values import plain

__all__ = ["bind", "instantiate", "instantiate_with", "plain"]
