"""The command compare: finished runs ranked and tested against each other, from their records alone."""
