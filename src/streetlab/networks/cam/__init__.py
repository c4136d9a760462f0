"""Class activation maps: the regions of an image that speak for a class.

- `activation`: `class_activation` of classifiers, `region_activation` of segmentation networks
- `engines`: the methods, all of pytorch-grad-cam, freed of what makes their maps incomparable
- `layers`: where in a network a map is read, and how tokens become maps
"""

from streetlab.networks.cam.activation import class_activation, region_activation
from streetlab.networks.cam.engines import METHODS, check_method
from streetlab.networks.cam.layers import find_layer, is_guessed

__all__ = ["METHODS", "check_method", "class_activation", "find_layer", "is_guessed", "region_activation"]
