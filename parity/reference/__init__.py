"""PyTorch twins of the library's models, with exactly the state-dict names of the checkpoints."""

from parity.reference.autoencoder import Autoencoder
from parity.reference.conv_relu_bn import ConvReLUBN, ConvReLUSignBias
from parity.reference.flow1d import Flow1d
from parity.reference.gan import DCGANDiscriminator, DCGANGenerator, DenseDiscriminator, DenseGenerator
from parity.reference.lenet import LeNet
from parity.reference.net_in_net import Net1, Net2
from parity.reference.nice import NICE
from parity.reference.small_net import SmallNetTest, SmallNetTrain
from parity.reference.vae import VAE

__all__ = [
    "NICE",
    "VAE",
    "Autoencoder",
    "ConvReLUBN",
    "ConvReLUSignBias",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DenseDiscriminator",
    "DenseGenerator",
    "Flow1d",
    "LeNet",
    "Net1",
    "Net2",
    "SmallNetTest",
    "SmallNetTrain",
]
