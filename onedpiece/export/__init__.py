"""A model directory from a PyTorch module: weights, ONNX graphs, manifest; and other precisions."""
