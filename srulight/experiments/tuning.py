"""The settings that a comparison tries for each encoder: the same points for all of them."""

from collections.abc import Callable, Sequence

import torch

from srulight.experiments.encoders import Recipe, arguments, setting

LAYERS = (1, 2, 3, 4, 6)
"""Numbers of layers to try at equal parameters."""

_FACTOR = 8.0  # The learning rate is between an eighth and eight times that of the configuration.
_DROPOUT = 0.5
_HIGHWAY = -3.0


def trials(
    recipe: Recipe,
    choice: Sequence[str],
    parts: Sequence[str],
    count: int,
    widen: Callable[[Sequence[str]], Sequence[str]] | None,
) -> list[tuple[str, ...]]:
    """Makes the settings to try for an encoder.

    The first trial has the settings of the configuration. The others are the points of a Sobol
    sequence, which fills the space evenly: the learning rate (by a factor of 8 down and up, on a
    logarithmic scale), dropout of the encoder (0 to 0.5), ``highway_bias`` (-3 to 0) and, at equal
    parameters, the number of layers (1, 2, 3, 4 or 6). Each encoder gets the same points, without
    the dimensions that it does not have.

    Args:
        recipe: The configuration.
        choice: Options that select the encoder.
        parts: Settings that hold the encoder.
        count: Number of trials, at least 1.
        widen: Returns the options for the width at which the network has the given number of
            parameters, from the options that select the encoder; None to leave the width alone.

    Returns:
        For each trial, the options of ``fit`` in addition to ``choice``.
    """
    config = recipe.config(choice)
    has = arguments(setting(config, parts[0]))
    optimizer = setting(config, "model.optimizer")
    rate = arguments(optimizer).get("lr") or 1e-3
    head = () if optimizer else ("--model.optimizer=torch.optim.Adam",)
    # The sequence begins with the center of the space, which the first trial replaces.
    points = torch.quasirandom.SobolEngine(4).draw(count).tolist()
    found = []
    for number, (a, b, c, d) in enumerate(points):
        values: dict[str, str] = {}
        if "dropout" in has:
            values["dropout"] = f"{_DROPOUT * c:.3g}"
        if "highway_bias" in has:
            values["highway_bias"] = f"{_HIGHWAY * (1 - d):.3g}"
        options = [*head, f"--model.optimizer.lr={rate * _FACTOR ** (2 * a - 1):.3g}"]
        options += [f"--{part}.{name}={value}" for part in parts for name, value in values.items()]
        layers = LAYERS[int(b * len(LAYERS))]
        shape = [f"--{part}.num_layers={layers}" for part in parts]
        if number == 0:
            options, shape = [], []
        elif widen is None or "num_layers" not in has:
            shape = []
        found.append((*options, *shape, *(widen([*choice, *shape]) if widen else ())))
    return found
