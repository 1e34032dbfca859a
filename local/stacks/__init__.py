"""CloudFormation: what ministack lacks, and refusals in place of silence."""
