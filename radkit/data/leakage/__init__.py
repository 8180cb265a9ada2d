"""Whether what a model is tested on is also what it learns from: identifiers, pixels, headers."""
