"""Whether an exported file computes what the run's own network computes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from limner.errors import ExportError
from limner.inference import as_for_pictures
from limner.inference.graphs import Inputs

BOUND = 1e-4
"""The largest difference on [-1, 1] that float32 and another order of sums explain: 1/80 level."""

DRAWS = 6


def largest_difference(
    made: Callable[..., Tensor],
    network: nn.Module,
    *,
    inputs: Inputs,
    size: tuple[int, int] | None,
    statistics: str,
    bound: float = BOUND,
) -> float:
    """Return the largest absolute difference over seeded pictures of several sizes and numbers.

    Args:
        made: the exported generator, without dropout.
        network: the run's own, as it was trained; pictures go through it one by one.
        inputs: what both are given.
        size: the only size that `made` takes, or nothing where it takes all.
        statistics: "running" or "batch", as the run translates.
        bound: what the difference may be.

    Raises:
        ExportError: the difference is larger, the shape another one, or a size is not taken.
    """
    worst = 0.0
    for number, tried in enumerate(inputs.sizes(size)):
        given = inputs.example(2 - number % 2, tried, seed=number)
        with as_for_pictures(network, statistics=statistics, dropout=False):
            expected = torch.cat(
                [network(*(one[i : i + 1] for one in given)) for i in range(len(given[0]))]
            )
        shape = "x".join(map(str, given[0].shape))
        try:
            picture = made(*given)
        except Exception as error:
            # Each runtime has exceptions of its own for what it cannot compute.
            reason = str(error).strip().splitlines()[-1]
            raise ExportError(f"the exported file does not take {shape}: {reason}") from error
        if picture.shape != expected.shape:
            raise ExportError(
                f"the exported file makes {tuple(picture.shape)} of {shape} where the run makes "
                f"{tuple(expected.shape)}: nothing was written"
            )
        # Not `max`: it would pass over what is not a number.
        difference = float((picture - expected).abs().max())
        if not difference <= bound:
            raise ExportError(
                f"the exported file differs from the run's generator by {difference:.2g} on "
                f"{shape}, more than {bound:.2g}: nothing was written"
            )
        worst = max(worst, difference)
    return worst


def check_dropout(
    made: Callable[..., Tensor],
    network: nn.Module,
    *,
    inputs: Inputs,
    size: tuple[int, int] | None,
    statistics: str,
) -> float:
    """Return how much an exported generator's draws of one picture spread, over the run's own.

    The ratio of the mean standard deviations over a few draws is 1 up to chance.

    Raises:
        ExportError: the draws are all the same, or the ratio lies outside 0.5 to 2.
    """
    given = inputs.example(1, inputs.sizes(size)[0])

    def spread(draw: Callable[[], Tensor]) -> float:
        return float(torch.stack([draw() for _ in range(DRAWS)]).std(0).mean())

    with (
        as_for_pictures(network, statistics=statistics, dropout=True),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(0)
        own = spread(lambda: network(*given))
        theirs = spread(lambda: made(*given))
    ratio = theirs / own if own else 1.0
    if not 0.5 <= ratio <= 2:
        raise ExportError(
            f"dropout does not live in the exported file as in the run (its pictures spread "
            f"{ratio:.2g} times as much): take another --format, or inference.dropout=false"
        )
    return ratio
