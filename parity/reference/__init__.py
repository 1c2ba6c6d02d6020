"""PyTorch twins of the library's models, with state-dict names exactly as the checkpoints have them."""

from parity.reference.conv_relu_bn import ConvReLUBN, ConvReLUSignBias
from parity.reference.net_in_net import Net1, Net2
from parity.reference.nice import NICE
from parity.reference.small_net import SmallNetTest, SmallNetTrain

__all__ = ["NICE", "ConvReLUBN", "ConvReLUSignBias", "Net1", "Net2", "SmallNetTest", "SmallNetTrain"]
