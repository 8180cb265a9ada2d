"""Layers and blocks that several networks share; each works in 2-D and 3-D, by its input's rank."""

from radkit.models.layers.blocks import activate as activate
from radkit.models.layers.blocks import convolution_block as convolution_block
from radkit.models.layers.blocks import normalize as normalize
from radkit.models.layers.convolutions import convolve as convolve
from radkit.models.layers.convolutions import convolve_depthwise as convolve_depthwise
from radkit.models.layers.convolutions import deconvolve as deconvolve
from radkit.models.layers.depthwise import DepthwiseConv3D as DepthwiseConv3D
from radkit.models.layers.excitation import squeeze_and_excite as squeeze_and_excite
from radkit.models.layers.normalization import MOMENTUM as MOMENTUM
from radkit.models.layers.normalization import BatchNormalization as BatchNormalization
from radkit.models.layers.normalization import Concatenate as Concatenate
from radkit.models.layers.normalization import GroupNormalization as GroupNormalization
from radkit.models.layers.normalization import InstanceNormalization as InstanceNormalization
from radkit.models.layers.pooling import AdaptiveAveragePooling as AdaptiveAveragePooling
from radkit.models.layers.pooling import average_pool as average_pool
from radkit.models.layers.pooling import global_average_pool as global_average_pool
from radkit.models.layers.pooling import max_pool as max_pool
from radkit.models.layers.sizes import CropLike as CropLike
from radkit.models.layers.sizes import PadToMultiple as PadToMultiple
from radkit.models.layers.sizes import Resize as Resize
