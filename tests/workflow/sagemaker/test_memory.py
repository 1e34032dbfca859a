"""Model files stream through the server: its memory does not grow with them."""

from __future__ import annotations

import hashlib
import threading
import uuid
from pathlib import Path

from tests.workflow.sagemaker.conftest import REGION, wait_for

MEGABYTES = 200


class AnonymousMemory:
    """The most memory of its own (not mapped files) that a process has while the block runs, in MB."""

    def __init__(self, pid: int) -> None:
        self.status, self.stop, self.peak = Path(f"/proc/{pid}/status"), threading.Event(), 0.0
        self.start = self.now()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def now(self) -> float:
        line = next(x for x in self.status.read_text().splitlines() if x.startswith("RssAnon"))
        return int(line.split()[1]) / 1024

    def _watch(self) -> None:
        while not self.stop.wait(0.005):
            self.peak = max(self.peak, self.now())

    def __enter__(self) -> AnonymousMemory:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop.set()
        self.thread.join()


def test_training_and_hosting_a_large_model_leaves_the_server_small(aws, image, role, bucket) -> None:
    sagemaker, s3, name = aws.client("sagemaker"), aws.client("s3"), f"large-{uuid.uuid4().hex[:6]}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="data/large/a.txt", Body=b"x")
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    aws.client("iam").put_role_policy(RoleName=role.rsplit("/", 1)[1], PolicyName="large", PolicyDocument=policy)
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/large/"}
    with AnonymousMemory(aws.pid) as memory:
        sagemaker.create_training_job(
            TrainingJobName=name, RoleArn=role, HyperParameters={"megabytes": str(MEGABYTES)},
            AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
            InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
            OutputDataConfig={"S3OutputPath": f"s3://{name}/m", "CompressionType": "NONE"},
            ResourceConfig={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )
        read = lambda: sagemaker.describe_training_job(TrainingJobName=name)  # noqa: E731
        job = wait_for(read, lambda j: j["TrainingJobStatus"] in ("Completed", "Failed"))
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        data = {"S3Uri": job["ModelArtifacts"]["S3ModelArtifacts"], "S3DataType": "S3Prefix", "CompressionType": "None"}
        container = {"Image": image, "ModelDataSource": {"S3DataSource": data}}
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)
        variant = {"VariantName": "v", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        status = lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]  # noqa: E731
        assert wait_for(status, lambda s: s != "Creating") == "InService"
    hosted = next((aws.config.data_dir / "endpoints").glob(f"{name}-v-*")) / "opt/ml/model/weights.bin"
    key = f"m/{name}/output/model/weights.bin"
    whole, ranged = hashlib.sha256(), s3.get_object(Bucket=name, Key=key, Range="bytes=5-9")
    with hosted.open("rb") as file:
        content = file.read(10)
        whole.update(content)
        while chunk := file.read(1 << 20):
            whole.update(chunk)
    assert hosted.stat().st_size == MEGABYTES << 20
    assert ranged["Body"].read() == content[5:]
    stored = s3.get_object(Bucket=name, Key=key)["Body"]
    assert hashlib.sha256(stored.read()).hexdigest() == whole.hexdigest()
    sagemaker.delete_endpoint(EndpointName=name)
    assert memory.peak - memory.start < MEGABYTES / 3
