"""What an instance type decides about a request to SageMaker."""

from __future__ import annotations

import re

# Families whose local NVMe disk is encrypted by its own hardware. SageMaker refuses a KMS key for
# their volumes (KmsKeyId of an endpoint config, VolumeKmsKeyId of a job). Families ending in "d"
# (m5d, c6gd ...) have such a disk by naming rule.
_LOCAL_DISK = frozenset(
    {"g4dn", "g5", "g6", "g6e", "gr6", "p4d", "p4de", "p5", "p5e", "p5en", "trn1", "trn1n", "trn2"}
)


def takes_volume_key(instance_type: str) -> bool:
    """Whether SageMaker accepts a KMS key for this instance's volume."""
    match = re.fullmatch(r"ml\.([a-z0-9-]+)\.[a-z0-9-]+", instance_type)
    if match is None:
        raise ValueError(f"instance_type must look like ml.m5.large, got {instance_type!r}")
    family = match.group(1)
    return family not in _LOCAL_DISK and not family.endswith("d")
