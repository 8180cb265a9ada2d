"""What a training step is fed with, without TensorFlow: where records lie, in which order, which part of them."""
