"""Configuration: typed roots, command-line overrides and the objects that a config names."""

from streetlab.config.targets import bind, check_node, instantiate, instantiate_with, of_kind, values_named
from streetlab.config.values import plain

__all__ = ["bind", "check_node", "instantiate", "instantiate_with", "of_kind", "plain", "values_named"]
