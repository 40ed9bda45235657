"""What is in a `.tflite` file, and how it runs."""
