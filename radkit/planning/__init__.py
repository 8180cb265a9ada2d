"""From statistics to a config: patch, batch, pooling, spacing and memory of a U-Net, by nnU-Net's rules.

`fingerprint` is what a data set says of itself, `topology` what a patch makes of a network, `search` finds the largest
of both that the memory holds, `memory` predicts that, `written` makes a config file of it.

Source: Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z, as nnU-Net v2 has the rules.
"""
