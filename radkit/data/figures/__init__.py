"""What statistics are made of: sums and percentiles that add up exactly, and what can be wrong with a data set."""
