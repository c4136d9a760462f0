"""Sweeps: their jobs' summary, Optuna's search, a device for each worker process."""
