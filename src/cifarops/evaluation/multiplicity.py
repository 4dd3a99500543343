"""Many questions to the same images: what each may claim, so that all of them together keep their promise."""

from collections.abc import Sequence

_DECAY = 1.6
_SUM = 2.2857656656801293  # of k to the power −1.6 over all k ≥ 1: Riemann's zeta(1.6)


def spent(alpha: float, look: int) -> float:
    """Return the part of `alpha` that the `look`-th candidate judged on the same images may use.

    Alpha spending without an end: the parts fall as look^−1.6 and add up to `alpha` over any number of looks, so the chance
    that any of them promotes a model that is no better stays at or under `alpha` (Foster and Stine 2008, "α-investing",
    J. R. Statist. Soc. B 70; this rate of decay: Ramdas, Zrnic, Wainwright and Jordan 2018, "SAFFRON", ICML).

    Args:
        alpha: What may be spent in all, in (0, 1).
        look: Which candidate it is, from 1.
    """
    return float(alpha * look**-_DECAY / _SUM)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p values: those at or under alpha may be claimed, all at once, with a chance of alpha.

    Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return tuple(adjusted)
