"""The queue of jobs, and the work that each kind of job takes."""
