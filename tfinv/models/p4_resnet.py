"""P4 ResNet: a residual network of group convolutions."""

from __future__ import annotations

from typing import Any

from tfinv.models.blocks import check_counts
from tfinv.models.group_blocks import GroupBlocks, GroupName, halved, square_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor


@guarded("name")
def p4_resnet(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    depth: int = 20,
    filters: tuple[int, int, int] = (8, 16, 32),
    group: GroupName = "p4",
    batch_normalization: bool = True,
    initializer: str = "he_normal",
    name: str = "p4_resnet",
) -> keras.Model:
    """A 3x3 stem and three stages of basic blocks of group convolutions; its logits do not change with turns.

        block:  y = ReLU(bn(conv3(ReLU(bn(conv3(x))))) + x)

    `x` goes through a 1x1 convolution where its shape changes. After the last stage follow a mean over positions, the
    maximum over turns, and a dense layer. Convolutions have no bias. Stages 2 and 3 halve the maps: those of an even
    size by averages of 2x2 before the block, because strides would break the equivariance.

    Example:
        >>> from tfinv.models import p4_resnet
        >>> p4_resnet((32, 32, 3), 10).count_params()
        271938

    Args:
        input_shape: `(H, W, C)`, square, at least 4x4.
        classes: number of logits.
        depth: layers with weights, `6 n + 2` for `n` blocks a stage, such as 8, 20 or 44.
        filters: maps of the three stages, each of 4 channels (`"p4m"`: 8). The published network has depth 44,
            `group="p4m"` and `(11, 23, 45)`.
        group: `"p4"` for the four right-angle rotations, `"p4m"` for these and their mirror images.
        batch_normalization: normalize after each convolution.
        initializer: a Keras initializer by name for the kernels.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind, or an image that is too small or not square.

    Source: Cohen and Welling 2016, "Group equivariant convolutional networks", section 8.2; He et al. 2016, section
    4.2, for the network.
    """
    if not isinstance(filters, (tuple, list)) or len(filters) != 3:
        raise ValueError(f"filters must be a tuple of three numbers of maps such as (8, 16, 32). Received: {filters!r}")
    check_counts(depth=depth, **{f"filters[{index}]": count for index, count in enumerate(filters)})
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"depth must be 8, 14, 20 or another 6 n + 2. Received: {depth!r}")
    blocks = GroupBlocks(group, batch_normalization, initializer)
    image = square_input(input_shape, classes, at_least=4)
    x = blocks.conv(image, filters[0], 3, "stem_conv", lifting=True, padding="same", use_bias=False)
    x = keras.layers.ReLU(name="stem_act")(blocks.norm(x, "stem_bn"))
    for stage, width in enumerate(filters, start=1):
        for number in range(1, depth // 6 + 1):
            label, strides = f"stage{stage}_block{number}", 1
            if number == 1 and stage > 1:
                x, strides = halved(x, f"{label}_halve")
            x = _block(blocks, x, width, strides, label)
    x = blocks.pool(keras.layers.GlobalAveragePooling2D(name="positions")(x), "turns")
    return keras.Model(image, keras.layers.Dense(classes, name="logits")(x), name=name)


def _block(blocks: GroupBlocks, x: Tensor, filters: int, strides: int, name: str) -> Any:
    options: dict[str, Any] = {"padding": "same", "use_bias": False}
    main = blocks.norm(blocks.conv(x, filters, 3, f"{name}_conv1", strides=strides, **options), f"{name}_bn1")
    main = keras.layers.ReLU(name=f"{name}_act1")(main)
    main = blocks.norm(blocks.conv(main, filters, 3, f"{name}_conv2", **options), f"{name}_bn2")
    shortcut = x
    if strides > 1 or x.shape[-1] != main.shape[-1]:
        shortcut = blocks.conv(x, filters, 1, f"{name}_shortcut", strides=strides, **options)
        shortcut = blocks.norm(shortcut, f"{name}_shortcut_bn")
    return keras.layers.ReLU(name=f"{name}_act2")(keras.layers.Add(name=f"{name}_add")([main, shortcut]))
