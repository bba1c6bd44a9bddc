"""A sync's manifest in, its epoch out: rows of a connection that was created again outrank all rows before."""

from beam_job.snapshots import snapshot_generation
from millrace.domain.landing import LandingManifest


def landing_epoch(manifest: LandingManifest, earlier: LandingManifest | None) -> tuple[int, str]:
    """Return the epoch of a manifest that has its source's, and a sentence if it is raised above those before.

    `earlier` is the newest manifest of a job that was created before.
    """
    if earlier is None or manifest.epoch > earlier.epoch:
        return manifest.epoch, ""
    why = _why_raised(manifest, earlier)
    return (earlier.epoch + 1, why) if why else (earlier.epoch, "")


def _why_raised(manifest: LandingManifest, earlier: LandingManifest) -> str:
    """Return a sentence if the stream started over between two jobs, else an empty text."""
    mine, before = snapshot_generation(manifest), snapshot_generation(earlier)
    if earlier.connection_id != manifest.connection_id:
        change = f"came through the connection {manifest.connection_id}, job {earlier.job_id} before it through"
        change += f" {earlier.connection_id}: the connection was created again"
    elif before > mine > 0:
        change = f"has Airbyte's generation {mine}, job {earlier.job_id} before it {before}: Airbyte started over"
    else:
        return ""
    return (
        f"job {manifest.job_id} of {manifest.source}.{manifest.stream} {change}; its rows get the epoch"
        f" {earlier.epoch + 1}, so that they are newer than all of epoch {earlier.epoch}"
    )
