"""CodeBuild builds images without Docker, and ECR answers with them."""

from __future__ import annotations

import pytest

from tests.workflow.sagemaker.conftest import allow, reasons

RECIPE = "FROM python:3.11\nCOPY app.py /app/app.py\nENTRYPOINT [\"python\", \"/app/app.py\"]\n"


def _digest(aws, repo: str, tag: str) -> str:
    found = aws.client("ecr").describe_images(repositoryName=repo, imageIds=[{"imageTag": tag}])
    return str(found["imageDetails"][0]["imageDigest"])


@pytest.mark.surface("codebuild:StartBuild", "ecr:DescribeImages", "ecr:BatchGetImage")
def test_a_build_pushes_an_image_that_ecr_describes(aws, build) -> None:
    done = build("plain", "v1", {"Dockerfile": RECIPE, "app.py": "print(1)"})
    assert done["buildStatus"] == "SUCCEEDED", reasons(done)
    digest = _digest(aws, "plain", "v1")
    assert digest.startswith("sha256:")
    found = aws.client("ecr").batch_get_image(repositoryName="plain", imageIds=[{"imageDigest": digest}])
    assert found["images"][0]["imageId"]["imageTag"] == "v1"


@pytest.mark.surface("codebuild:StartBuild")
def test_the_same_source_gives_the_same_digest_and_another_source_another(aws, build) -> None:
    for tag, text in (("a", "print(1)"), ("b", "print(1)"), ("c", "print(2)")):
        assert build("same", tag, {"Dockerfile": RECIPE, "app.py": text})["buildStatus"] == "SUCCEEDED"
    assert _digest(aws, "same", "a") == _digest(aws, "same", "b")
    assert _digest(aws, "same", "a") != _digest(aws, "same", "c")


def test_run_is_recorded_and_said_not_to_be_executed(aws, build) -> None:
    done = build("logged", "v1", {"Dockerfile": RECIPE + "RUN pip install torch\n", "app.py": ""})
    events = aws.client("logs").get_log_events(
        logGroupName=done["logs"]["groupName"], logStreamName=done["logs"]["streamName"]
    )["events"]
    text = "\n".join(e["message"] for e in events)
    assert "RUN pip install torch" in text
    assert "recorded, not executed" in text


def test_overrides_of_start_build_reach_the_build(aws, build) -> None:
    override = {"environmentVariablesOverride": [{"name": "IMAGE_TAG", "value": "other"}]}
    done = build("over", "v1", {"Dockerfile": RECIPE, "app.py": ""}, start=override)
    assert done["buildStatus"] == "SUCCEEDED", reasons(done)
    assert _digest(aws, "over", "other")


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("FROM x\nONBUILD RUN y\n", "ONBUILD is not supported"),
        ("FROM x\nCOPY missing.py /\n", "'missing.py' is not in the build context"),
        ("RUN x\n", "no FROM"),
    ],
)
def test_a_dockerfile_that_cannot_be_built_fails_with_its_reason(build, recipe: str, reason: str) -> None:
    done = build("bad", "v1", {"Dockerfile": recipe})
    assert done["buildStatus"] == "FAILED"
    assert reason in reasons(done)


def test_a_build_role_without_the_source_grant_fails_with_access_denied(aws, build) -> None:
    poor = aws.role([allow("ecr:*")], service="codebuild.amazonaws.com")
    done = build("poor", "v1", {"Dockerfile": RECIPE, "app.py": ""}, role=poor)
    assert done["buildStatus"] == "FAILED"
    assert "AccessDenied" in reasons(done)


def test_stages_arguments_and_ignore_rules_work(aws, build, role, bucket) -> None:
    files = {
        "docker/Dockerfile": (
            "ARG WHO=nobody\nFROM a AS first\nCOPY lib /lib0\nFROM b AS second\nARG WHO\nENV WHO=${WHO}\n"
            "COPY --from=first /lib0 /code/lib\nFROM c AS third\n"
        ),
        "lib/kept.py": "x", "lib/dropped.tmp": "y", ".dockerignore": "**/*.tmp\n",
    }
    done = build(
        "stages", "v1", files, variables={"DOCKERFILE": "docker/Dockerfile", "TARGET": "second", "ME": "tester"},
        buildspec="phases:\n  build:\n    commands: docker build --build-arg WHO=$ME .",
    )
    assert done["buildStatus"] == "SUCCEEDED", reasons(done)
    folder = next((aws.config.data_dir / "images" / "stages").iterdir())
    assert [p.name for p in (folder / "rootfs/code/lib").iterdir()] == ["kept.py"]
    assert '"WHO": "tester"' in (folder / "image.json").read_text()
