"""ReLU networks from graphs of ONNX."""
