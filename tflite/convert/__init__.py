"""From a Keras model to a `.tflite` file."""
