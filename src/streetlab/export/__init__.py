"""The command export: write trained networks as ONNX or torch.export files, in fp32, fp16 or int8."""
