"""Read and write checkpoint files, and rebuild networks from them."""
