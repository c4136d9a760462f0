"""LightningModules, losses and metrics."""
