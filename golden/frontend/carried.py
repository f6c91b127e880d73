"""What of the recognised layers cannot be carried to the end yet: refused by name, with the user's line."""

from moesaic.golden.frontend.meaning import Patches
from moesaic.golden.frontend.recognise import Recognised
from moesaic.golden.frontend.refusal import CaptureError
from moesaic.golden.network import Network

__all__ = ["check_channels", "check_layers"]

MOST_CHANNELS = 4  # of an image file: grey, grey and alpha, RGB, RGBA


def check_channels(recognised: Recognised) -> None:
    """`CaptureError` if the image has more than four channels."""
    patches = recognised.embed.linear.source
    assert isinstance(patches, Patches)
    if patches.pixels.shape[0] > MOST_CHANNELS:
        raise CaptureError(
            f"image must have one to four channels, not {patches.pixels.shape[0]}\n"
            "nearest supported: nn.Conv2d(4, dim, kernel_size=patch, stride=patch), as image files have channels"
        )


def check_layers(network: Network) -> None:
    """`CaptureError` if a layer has no integer arithmetic."""
    for node in network.nodes:
        if node.sizes.missing:
            where = "" if node.origin is None else f" ({node.origin.module})"
            line = "an unknown line" if node.origin is None else node.origin.line
            raise CaptureError(
                f"layer '{node.name}'{where} must be of what can be quantised, not with {node.sizes.missing}\n"
                f"at {line}\nnearest supported: an activation between two linear layers, or a gated MLP"
            )
