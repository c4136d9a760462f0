"""The command compress: prune a trained network's channels, fine-tune it, and record both as a new run."""
