"""Figures from results and tidy frames: one look, no TensorFlow, no global pyplot state.

Every function returns a `matplotlib.figure.Figure`; `save` writes it, `to_data_uri` embeds it, a notebook shows it.
matplotlib is imported at the first figure, not before.
"""

from tfinv.plots.accuracy import accuracy_curve
from tfinv.plots.bars import bars
from tfinv.plots.captioned import captioned_images
from tfinv.plots.heatmap import change_heatmap, heatmap
from tfinv.plots.images import feature_maps, image_grid
from tfinv.plots.outputs import output_pictures
from tfinv.plots.profile import profile
from tfinv.plots.quantization import before_after, pareto
from tfinv.plots.relative_error import relative_error_map
from tfinv.plots.saving import save, to_data_uri
from tfinv.plots.search_path import neighbour_files, search_path
from tfinv.plots.style import PALETTE

__all__ = [
    "PALETTE",
    "accuracy_curve",
    "bars",
    "before_after",
    "captioned_images",
    "change_heatmap",
    "feature_maps",
    "heatmap",
    "image_grid",
    "neighbour_files",
    "output_pictures",
    "pareto",
    "profile",
    "relative_error_map",
    "save",
    "search_path",
    "to_data_uri",
]
