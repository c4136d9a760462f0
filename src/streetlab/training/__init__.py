"""The train command: phases, callbacks, loggers, provenance."""
