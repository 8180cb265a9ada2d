"""Everything on boxes, 2-D and 3-D: what networks, losses and inference share; pure Keras, or numpy where it says so.

Edges: low, then high, one a spatial axis in the array's order; voxel k reaches from k to k + 1 (`geometry`).
"""
