"""Words that a reader of a report may not know, each explained in a sentence or two."""

from __future__ import annotations

TERMS: dict[str, str] = {
    "sample": "One image of the data.",
    "transformation": "A change of an image that should not change what it shows, such as a rotation by 45°.",
    "unit": "One number that a layer computes for an image. A feature map counts as one unit where its positions are "
    "averaged.",
    "layer profile": "One number for each layer, the mean of a measure over the layer's units, from the input on the "
    "left to the output on the right.",
    "normalized variance": "How much a unit changes when an image is transformed, divided by how much it changes from "
    "one image to another. 0: the transformation changes nothing, the unit is invariant. 1: transforming an image "
    "changes the unit as much as taking another image. Lower is more invariant.",
    "same-equivariance": "How far a layer is from this ideal: transforming the image gives the transformed feature "
    "map. 0 means that it does so exactly.",
    "dead unit": "A unit that never changes, neither from image to image nor under the transformations, so that "
    "nothing can be said about its invariance. Dead units are left out of the means.",
    "sample-constant unit": "A unit that the transformations change although it is the same for all images. It is left "
    "out of the means.",
    "interval": "The range that holds the true value with the stated confidence (95 % unless another is given), were "
    "the measurement repeated with other images. Bands in a plot and error bars show it.",
    "change beyond noise": "A difference whose interval excludes zero, so that it cannot be put down to the choice of "
    "images.",
    "augmentation": "Training with images that are transformed at random each time the network sees them.",
    "chance": "The accuracy that guessing the class would reach.",
    "accuracy under transformation": "The share of correctly classified images when the images are transformed, over "
    "all transformations.",
    "consistency": "The share of images whose predicted class stays the same when the image is transformed. A model "
    "that always answers the same is perfectly consistent, so read it together with the accuracy.",
    "worst case": "An image counts as right only if it is classified right under every transformation of the set. The "
    "share falls with every transformation that is added.",
    "harmful flip": "An answer that was right before and is wrong after. A beneficial flip goes from wrong to right, a "
    "neutral one from one wrong class to another.",
    "calibration error": "How far the confidence of a model and its accuracy lie apart, on average. 0: of the answers "
    "given with a confidence of 80 %, 80 % are right. A temperature divides the logits so that they fit better.",
    "flip rate": "The share of predictions that differ between the model before and after, on the same images.",
    "collapse": "A model that answers nearly the same class for every image; its invariance means nothing.",
    "quantization": "Storing and computing a network with integers of few bits instead of floating-point numbers, "
    "which makes it smaller and often faster on small devices.",
    "dynamic int8": "Weights stored in 8 bits, activations quantized while the model runs.",
    "static int8": "Weights and activations in 8 bits, with the activations' ranges fixed in advance by calibration.",
    "calibration": "Running a few images through the network to find the range of values that each activation takes.",
    "quantization-aware training": "Training on while imitating the rounding of quantization, so that the network can "
    "adapt to it.",
    "SQNR": "Signal to quantization noise ratio: how much larger a layer's values are than the error that quantization "
    "adds to them, in decibels. 20 dB more means an error ten times smaller.",
}
"""Explanations by term, for `Report.glossary`."""


def explain(*terms: str) -> dict[str, str]:
    """Pick explanations for a glossary.

    Example:
        >>> from tfinv.report import explain
        >>> explain("sample")
        {'sample': 'One image of the data.'}

    Args:
        terms: keys of `TERMS`, in the order wanted.

    Returns:
        Explanations by term.

    Raises:
        ValueError: a term that is not in `TERMS`.
    """
    if not all(isinstance(term, str) for term in terms):
        raise TypeError(f"terms must be text. Received: {', '.join(map(repr, terms))}")
    unknown = [term for term in terms if term not in TERMS]
    if unknown:
        raise ValueError(f"terms must be among {', '.join(TERMS)}. Received: {', '.join(unknown)}")
    return {term: TERMS[term] for term in terms}
