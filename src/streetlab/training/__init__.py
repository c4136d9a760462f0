"""The commands train and evaluate: phases, callbacks, loggers, provenance."""
