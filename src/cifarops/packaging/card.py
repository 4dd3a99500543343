"""The model card: what a person should know before using the bundle (Mitchell et al. 2019)."""

from cifarops.bundle.manifest import CodeIdentity, Parity, Serving
from cifarops.data.snapshot import Snapshot
from cifarops.evaluation.metrics import wilson
from cifarops.training.run import Run

_CARD = """# Model card

{banner}Classifies {size}×{size} colour images into {count} classes: {classes}.

## Quality on `valid`

{valid} images cut from the training source, not trained on; they chose nothing but the temperature.

| measure | value |
| --- | --- |
| accuracy | {accuracy} |
| expected calibration error, 15 bins | {ece:.4f} |
| negative log likelihood, nats | {nll:.4f} |
| temperature | {temperature:.4f} |
| largest logit difference from the trained network, {parity.images} images | {parity.max_logit_difference:.1e} (allowed {parity.tolerance:g}) |
| same prediction by the int8 and the float32 model, {serving.images} images | {serving.equal_predictions:.2%} |
| accuracy of int8 minus float32 | {int8} |

The {serving.precision} model answers: {serving.reason}. The numbers above are its own. A processor without instructions for int8 takes float32.

## Data

Snapshot `{snapshot}` from the {kind} source ({name}); {train} images trained on.{parent}

## Intended use

Images like those of the snapshot. The ten or so pixels that an object leaves at {size}×{size} don't carry details;
decisions about people, and any use where a wrong label does harm, are out of scope.

## Limits

It answers every image with one of its classes, also one that shows none of them. Confidence is calibrated for images like
those of `valid`; blur, noise, fog, night and new backgrounds cost accuracy first and confidence later.

## Repeat it

    git checkout {commit}
    cifarops data ingest --profile {profile}
    cifarops train --profile {profile} --seed {seed}
    cifarops package

cifarops {version}{dirty}; {epochs:g} epochs in {precision} with {threads} threads. Another thread count or processor rounds
differently.
"""


def write_card(
    run: Run,
    snapshot: Snapshot,
    *,
    metrics: dict[str, float],
    parity: Parity,
    serving: Serving,
    temperature: float,
    code: CodeIdentity,
) -> str:
    """Return the card as Markdown; it names no time and no run, so the same training gives the same card."""
    count = snapshot.meta.splits["valid"].count
    share = wilson(round(metrics["accuracy"] * count), count)
    synthetic = " (synthetic)" if snapshot.is_synthetic else ""
    banner = "**Synthetic: trained and measured on images drawn by a program.**\n\n" if synthetic else ""
    return _CARD.format(
        banner=banner,
        size=snapshot.meta.preprocessing.size,
        count=len(snapshot.classes),
        classes=", ".join(snapshot.classes),
        valid=count,
        accuracy=f"{share.value:.2%}{synthetic}, 95 % interval {share.low:.2%} to {share.high:.2%}",
        ece=metrics["ece"],
        nll=metrics["nll"],
        temperature=temperature,
        parity=parity,
        serving=serving,
        int8=f"{100 * serving.difference:+.2f} points, 95 % interval {100 * serving.difference_low:+.2f} to "
        f"{100 * serving.difference_high:+.2f}",
        snapshot=snapshot.id,
        kind=snapshot.meta.source.kind,
        name=snapshot.meta.source.name,
        train=snapshot.meta.splits["train"].count,
        parent=f" It extends snapshot `{snapshot.meta.parent}`." if snapshot.meta.parent else "",
        commit=code.commit or f"v{code.version}",
        profile=run.profile,
        seed=run.params.train.seed,
        version=code.version,
        dirty=", with changes that no commit holds" if code.dirty else "",
        epochs=run.epochs,
        precision=run.precision,
        threads=run.threads,
    )
