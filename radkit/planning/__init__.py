"""From statistics to a config: patch, batch, pooling, spacing and memory of a U-Net, by nnU-Net's rules."""
