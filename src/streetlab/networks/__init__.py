"""Networks as plain modules, their parameter groups, weights and costs."""
