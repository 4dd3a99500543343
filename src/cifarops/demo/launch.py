"""The first act: from images to a version that answers requests in production."""

from cifarops.data.ingest import ingest as ingest_source
from cifarops.demo.scene import Scene
from cifarops.errors import CifaropsError
from cifarops.evaluation.gate import Verdict
from cifarops.serving.client import Client
from cifarops.simulation.stream import SyntheticStream, hold_out
from cifarops.simulation.traffic import send
from cifarops.story import Step

_TRAFFIC_FRACTION = 0.1
_TRAFFIC_SEED = 1_000_003  # another seed than any snapshot's, so that no image is drawn twice
_SMOKE_REQUESTS = 20


def ingest(scene: Scene, step: Step) -> None:
    """Source to snapshot; part of real images is put aside to play production traffic."""
    params, settings = scene.params.data, scene.settings
    ingested = ingest_source(
        params,
        origin=scene.origin,
        snapshots=settings.snapshots,
        downloads=settings.downloads,
        cache=settings.cache,
        cifar10_url=settings.cifar10_url,
        progress=scene.progress,
    )
    scene.snapshot = ingested.snapshot
    if scene.snapshot.is_synthetic:
        scene.stream = SyntheticStream(
            classes=len(scene.snapshot.classes),
            size=params.image_size,
            ambiguous=params.synthetic.ambiguous,
            seed=_TRAFFIC_SEED,
        )
    else:
        scene.snapshot, scene.stream = hold_out(
            settings.snapshots, scene.snapshot, fraction=_TRAFFIC_FRACTION, seed=params.seed
        )
    counts = {split: info.count for split, info in scene.snapshot.meta.splits.items()}
    step.result = {"snapshot": scene.snapshot.id, "images": counts, "classes": len(scene.snapshot.classes)}
    step.says = f"{sum(counts.values()):,} images of {len(scene.snapshot.classes)} classes in snapshot {scene.snapshot.id}."


def validate(scene: Scene, step: Step) -> None:
    """Check the snapshot's bytes and show what validation found in the images."""
    scene.snapshot.verify()
    findings = scene.snapshot.meta.findings
    step.result = {"findings": [finding.model_dump() for finding in findings]}
    step.says = "Every hash is right. " + (
        " ".join(f"{finding.message}" for finding in findings[:3]) or "No image was found wanting."
    )


def train(scene: Scene, step: Step) -> None:
    """Snapshot to run."""
    scene.run = scene.train(scene.snapshot, scene.params)
    step.result = {
        "run": scene.run.id,
        "valid_accuracy": scene.run.valid_accuracy,
        "seconds": scene.run.seconds,
    }
    step.says = (
        f"{scene.run.valid_accuracy:.1%} right on `valid` after {scene.run.seconds:.0f} s of training."
    )


def package(scene: Scene, step: Step) -> None:
    """Run to bundle: ONNX, calibrated, hashed."""
    scene.bundle = scene.package(scene.run, scene.snapshot)
    manifest = scene.bundle.manifest
    megabytes = manifest.files["model.onnx"].size / 1e6
    step.result = {"bundle": scene.bundle.digest, "megabytes": megabytes, "temperature": manifest.temperature}
    step.says = (
        f"ONNX, {megabytes:.1f} MB; its logits are within {manifest.parity.max_logit_difference:.1g} of the"
        " network's, its predictions the same."
    )


def gate(scene: Scene, step: Step) -> None:
    """Judge the packaged model on the test set."""
    scene.verdict = scene.gate("first model", scene.bundle, scene.snapshot, against=None)
    step.result = verdict_result(scene.verdict)
    step.says = verdict_sentence(scene.verdict)
    if scene.verdict.answer != "promote":
        raise refused(scene.verdict)


def register(scene: Scene, step: Step) -> None:
    """Bundle and verdict to a version."""
    scene.version = scene.register(scene.bundle, scene.verdict)
    scene.first_version = scene.version
    step.result = {"version": scene.version.number}
    step.says = f"Version {scene.version.number} in the registry, alias `candidate`."


def staging(scene: Scene, step: Step) -> None:
    """Start staging and promote the version into it."""
    scene.open_server("staging")
    scene.promote(scene.version, "staging", "first model passed the gate")
    step.result = {"url": scene.servers["staging"].url, "version": scene.version.number}
    step.says = f"Staging answers at {scene.servers['staging'].url} with version {scene.version.number}."


def smoke_test(scene: Scene, step: Step) -> None:
    """Ask staging real questions before production may have the version."""
    client = scene.client("staging")
    log = send(client, scene.draw(_SMOKE_REQUESTS, shifted=False), scene.snapshot.classes)
    scene.extra_logs.append(log)
    refusal = _refusal(client, b"this is not an image")
    wrong = {answer.version for answer in log.answered} - {scene.version.number}
    if log.failures or wrong or not refusal:
        raise CifaropsError(
            f"The smoke test on staging failed: {len(log.failures)} errors, wrong versions {sorted(wrong)},"
            f" text file {'refused' if refusal else 'accepted'}.",
            fix=f"Read the server's log under {scene.settings.workspace / 'logs'}.",
        )
    step.result = {"requests": log.sent, "failed": len(log.failures), "accuracy": log.accuracy()}
    step.says = f"{log.sent} of {log.sent} requests answered by version {scene.version.number}; a text file was refused."


def production(scene: Scene, step: Step) -> None:
    """Start production and promote the very same bundle into it."""
    scene.open_server("production")
    scene.promote(scene.version, "production", "smoke test on staging passed")
    step.result = {"url": scene.servers["production"].url, "version": scene.version.number}
    step.says = f"Production answers at {scene.servers['production'].url}; same bundle, byte for byte."


def verdict_result(verdict: Verdict) -> dict[str, object]:
    """Return what the summary keeps of a verdict."""
    return {
        "answer": verdict.answer,
        "suites": {
            suite.name: {
                "images": suite.candidate.images,
                "accuracy": suite.candidate.accuracy.value,
                "incumbent": suite.incumbent.accuracy.value if suite.incumbent else None,
            }
            for suite in verdict.evidence
        },
    }


def verdict_sentence(verdict: Verdict) -> str:
    """Return a verdict with its first reason."""
    return f"{verdict.answer}: {verdict.reasons[0]}"


def refused(verdict: Verdict) -> CifaropsError:
    """Return the error for a verdict that the story can't go on with."""
    return CifaropsError(
        f"The gate answered {verdict_sentence(verdict)}",
        fix="Train longer (another --profile, or train.epochs in params.yaml), or give more test images.",
    )


def _refusal(client: Client, content: bytes) -> bool:
    try:
        client.predict(content)
    except CifaropsError:
        return True
    return False
