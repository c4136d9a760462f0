"""Plain networks (no Lightning), their weights, parameter groups and costs."""
