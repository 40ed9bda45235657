"""Images and labels: known data sets, files and folders, subsets, pipelines, normalization; no TensorFlow at import."""

from tfinv.datasets.images import adapt
from tfinv.datasets.loading import load, names
from tfinv.datasets.normalization import ChannelStatistics, channel_statistics, normalize
from tfinv.datasets.split import Dataset, Split
from tfinv.datasets.stored import StoredImages, on_disk

__all__ = [
    "ChannelStatistics",
    "Dataset",
    "Split",
    "StoredImages",
    "adapt",
    "channel_statistics",
    "load",
    "names",
    "normalize",
    "on_disk",
]
