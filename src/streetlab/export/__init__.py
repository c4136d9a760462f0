"""Trained networks in other shapes: one file for ONNX Runtime, in fewer bits or with fewer channels."""
