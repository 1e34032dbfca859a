"""Capture belongs to the caller's fabric: Firehose -> S3, one JSON line per request, never its text."""

from __future__ import annotations

from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3

from constructs import Construct
from contracts import naming
from mlplatform.policies import allow, arn_of, service_role, use_key
from mlplatform.retention import log_group

BUFFER_S, BUFFER_MB = 60, 5  # a minute: the drift window waits for it


class CaptureStream(Construct):
    """Firehose adds the UTC hour of arrival (YYYY/MM/DD/HH/) to the prefix; the producer adds the newline."""

    def __init__(self, scope: Construct, id_: str, *, slug: str, bucket: s3.IBucket, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self.name = naming.capture_stream(slug)
        prefix, errors = naming.capture_prefix(slug), f"capture-errors/{slug}/"
        group = log_group(self, "Logs", key_arn=arn_of(key))
        stream = logs.CfnLogStream(self, "LogStream", log_group_name=group.ref)
        role = service_role(
            self, "Role", service="firehose.amazonaws.com", description=f"Delivers {self.name} to the capture bucket",
            statements=[
                allow("s3:PutObject", "s3:AbortMultipartUpload",
                      on=[f"{bucket.bucket_arn}/{prefix}*", f"{bucket.bucket_arn}/{errors}*"]),
                allow("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads", on=bucket.bucket_arn),
                allow("logs:PutLogEvents", on=group.attr_arn), use_key(arn_of(key)),
            ],
        )
        self.resource = firehose.CfnDeliveryStream(
            self, "Default", delivery_stream_name=self.name, delivery_stream_type="DirectPut",
            delivery_stream_encryption_configuration_input=(
                firehose.CfnDeliveryStream.DeliveryStreamEncryptionConfigurationInputProperty(
                    key_type="CUSTOMER_MANAGED_CMK", key_arn=arn_of(key))),
            extended_s3_destination_configuration=(
                firehose.CfnDeliveryStream.ExtendedS3DestinationConfigurationProperty(
                    bucket_arn=bucket.bucket_arn, role_arn=role.role_arn, prefix=prefix, error_output_prefix=errors,
                    compression_format="UNCOMPRESSED",
                    buffering_hints=firehose.CfnDeliveryStream.BufferingHintsProperty(
                        interval_in_seconds=BUFFER_S, size_in_m_bs=BUFFER_MB),
                    encryption_configuration=firehose.CfnDeliveryStream.EncryptionConfigurationProperty(
                        kms_encryption_config=firehose.CfnDeliveryStream.KMSEncryptionConfigProperty(
                            awskms_key_arn=arn_of(key))),
                    cloud_watch_logging_options=firehose.CfnDeliveryStream.CloudWatchLoggingOptionsProperty(
                        enabled=True, log_group_name=group.ref, log_stream_name=stream.ref))),
        )
