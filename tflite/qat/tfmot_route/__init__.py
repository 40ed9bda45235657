"""Quantization-aware training by tensorflow-model-optimization, in a process of its own."""
