"""Servers of others that answer the same requests with the same ONNX file, each as its own documentation shows."""
