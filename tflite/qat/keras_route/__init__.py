"""Quantization-aware training of the Keras 3 model itself."""
