"""Cache of decoded images, and batches of them on the training device."""
