import pytest

from cli.errors import CliError
from cli.target import Target, find_deployment, find_story


def test_a_deployment_is_found_by_name_and_by_region() -> None:
    assert find_deployment("jp") is find_deployment("ap-northeast-1")


def test_an_unknown_region_names_the_allowed_ones() -> None:
    with pytest.raises(CliError, match=r"'ap-south-1': allowed are jp \(ap-northeast-1\), us \(us-east-1\)"):
        find_deployment("ap-south-1")


def test_an_unknown_story_names_the_allowed_ones() -> None:
    with pytest.raises(CliError, match="unknown story 'intents': allowed are intent-classifier"):
        find_story("intents")


def test_a_story_that_is_not_built_yet_is_told_apart_from_an_unknown_one() -> None:
    with pytest.raises(CliError, match="'reranker' is on the roster but not built yet"):
        find_story("reranker")


def test_the_public_root_keys_are_never_used_without_an_endpoint_url(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert Target.of("jp").session.get_credentials() is None
    embedded = Target.of("jp", "http://localhost:1").session.get_credentials()
    assert embedded is not None
    assert embedded.access_key == "test"
