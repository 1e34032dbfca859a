"""Images built in the account by CodeBuild and pinned by digest; no Docker anywhere near a developer.

The repository and the project belong to the platform; the *build* is a custom resource in the
stack that uses the image. Its digest changes with the code, and CloudFormation refuses to change
an export that another stack imports.
"""

from __future__ import annotations

from aws_cdk import CustomResource, Duration, RemovalPolicy, Token
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import naming
from mlplatform.policies import ACCOUNT, Statement, allow, arn, arn_of, service_role, use_key
from mlplatform.retention import log_group
from mlplatform.staging import content_hash, source_asset

_SOURCES = ("contracts", "model_code", "containers")
_BUILD_MINUTES = 60
_BUILDSPEC = """\
version: 0.2
phases:
  pre_build:
    commands:
      - REGISTRY="$AWS_ACCOUNT_ID.dkr.ecr.$AWS_REGION.amazonaws.com"
      - aws ecr get-login-password | docker login --username AWS --password-stdin "$REGISTRY"
  build:
    commands:
      - docker build --file "$DOCKERFILE" --tag "$REGISTRY/$IMAGE_REPO:$IMAGE_TAG" .
  post_build:
    commands:
      - docker push "$REGISTRY/$IMAGE_REPO:$IMAGE_TAG"
"""


class ContainerImage(Construct):
    """One image: `training` or `serving`, from containers/KIND/Dockerfile."""

    def __init__(self, scope: Construct, id_: str, *, kind: str, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self.kind, self.repository_name = kind, naming.image_repository(kind)
        self.repository = ecr.Repository(
            self, "Repository", repository_name=self.repository_name, image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE, encryption=ecr.RepositoryEncryption.KMS,
            encryption_key=key, removal_policy=RemovalPolicy.RETAIN,
        )
        source = source_asset(self, "Source", _SOURCES)
        group = log_group(self, "BuildLogs", key_arn=arn_of(key))
        role = service_role(
            self, "BuildRole", service="codebuild.amazonaws.com", description=f"Builds the {kind} image",
            statements=[
                allow("s3:GetObject", "s3:GetObjectVersion", on=source.bucket.arn_for_objects(source.s3_object_key)),
                allow("logs:CreateLogStream", "logs:PutLogEvents", on=group.attr_arn),
                use_key(arn_of(key)), *push_images([self.repository.repository_arn]),
            ],
        )
        variable = codebuild.CfnProject.EnvironmentVariableProperty
        self.project = codebuild.CfnProject(
            self, "Project", name=f"{naming.PROJECT}-image-{kind}", service_role=role.role_arn,
            description=f"Builds {self.repository_name}", encryption_key=arn_of(key),
            timeout_in_minutes=_BUILD_MINUTES, artifacts=codebuild.CfnProject.ArtifactsProperty(type="NO_ARTIFACTS"),
            source=codebuild.CfnProject.SourceProperty(
                type="S3", location=f"{source.s3_bucket_name}/{source.s3_object_key}", build_spec=_BUILDSPEC),
            environment=codebuild.CfnProject.EnvironmentProperty(
                type="LINUX_CONTAINER", image="aws/codebuild/standard:7.0", compute_type="BUILD_GENERAL1_MEDIUM",
                privileged_mode=True,  # docker build inside CodeBuild needs it
                environment_variables=[
                    variable(name="DOCKERFILE", value=f"containers/{kind}/Dockerfile"),
                    variable(name="IMAGE_REPO", value=self.repository_name),
                    variable(name="IMAGE_TAG", value=self.tag),
                    variable(name="AWS_ACCOUNT_ID", value=ACCOUNT),
                ],
            ),
            logs_config=codebuild.CfnProject.LogsConfigProperty(
                cloud_watch_logs=codebuild.CfnProject.CloudWatchLogsConfigProperty(
                    status="ENABLED", group_name=group.ref)),
        )

    @property
    def tag(self) -> str:
        """Names the content, so an unchanged image is found and not built again."""
        return content_hash(_SOURCES)[:16]

    def build(self, scope: Construct, id_: str, *, builder_arn: str) -> str:
        """Have it built; returns the URI pinned by digest, for use in `scope`'s stack only."""
        resource = CustomResource(
            scope, id_, service_token=builder_arn, resource_type="Custom::ContainerImage",
            service_timeout=Duration.minutes(_BUILD_MINUTES),
            properties={"ProjectName": self.project.ref, "Repository": self.repository_name, "Tag": self.tag},
        )
        return Token.as_string(resource.get_att("ImageUri"))

    def build_statements(self) -> list[Statement]:
        """What the builder function needs for this image."""
        return [
            allow("codebuild:StartBuild", "codebuild:BatchGetBuilds", on=self.project.attr_arn),
            allow("ecr:DescribeImages", "ecr:DescribeRepositories",
                  on=arn("ecr", f"repository/{self.repository_name}")),
        ]


_LOGIN = allow("ecr:GetAuthorizationToken", on="*")  # has no resource


def pull_images(repository_arns: list[str]) -> list[Statement]:
    return [_LOGIN, allow("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
                          on=repository_arns)]


def push_images(repository_arns: list[str]) -> list[Statement]:
    return [*pull_images(repository_arns),
            allow("ecr:PutImage", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload",
                  on=repository_arns)]
