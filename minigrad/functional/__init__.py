"""Functions that networks are made of: activations, losses, normalization, attention, convolution.

Most are a few lines over the table of derivatives. Where one op instead of many pays (softmax, cross-entropy, norms),
it is a row of its own with its derivative beside it, and the tests hold the plain composition against it. All of them
take Tensors, and arrays as well: then they are ordinary NumPy.
"""

from ..ops import linear, relu, sigmoid, tanh
from .activations import elu, gelu, leaky_relu, log_softmax, silu, softmax, softplus
from .attention import scaled_dot_product_attention
from .convolution import adaptive_avg_pool2d, avg_pool2d, conv1d, conv2d, conv_transpose2d, max_pool2d
from .losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
)
from .normalization import batch_norm, layer_norm, moments
from .sparse import dropout, embedding
