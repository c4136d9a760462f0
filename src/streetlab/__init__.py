"""Hydra-configured PyTorch Lightning experiments for urban street imagery."""

__version__ = "0.1.0"
