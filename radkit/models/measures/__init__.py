"""What a network costs and sees, and how it looks, from its graph alone: nothing is run.

>>> import keras
>>> from radkit.models import measures
>>> image = keras.Input((32, 32, 1))
>>> network = keras.Model(image, keras.layers.Conv2D(4, 3, padding="same")(image))
>>> measures.flops(network), measures.receptive_field(network)
(77824, (3, 3))
"""

from radkit.models.measures.diagram import draw as draw
from radkit.models.measures.flops import by_layer as by_layer
from radkit.models.measures.flops import flops as flops
from radkit.models.measures.receptive_field import receptive_field as receptive_field
