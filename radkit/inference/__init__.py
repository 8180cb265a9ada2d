"""From a network to an answer on an image of any size: sliding windows, flips, ensembles, cascades, cleaning."""
