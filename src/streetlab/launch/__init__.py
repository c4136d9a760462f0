"""How a search chooses its jobs, and where the jobs of a sweep run."""
