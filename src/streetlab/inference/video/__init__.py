"""Videos as streams: read, predicted in batches and written again in memory that does not grow with their length."""
