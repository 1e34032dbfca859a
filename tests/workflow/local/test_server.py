"""The process: start, stop, the command line, and what it takes of the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from local import server
from local.__main__ import main
from local.config import LocalConfig
from local.stacks.unread import Watched
from local.surface import table
from tests.support.embedded import EmbeddedAws

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.surface("python -m local up | deploy | down")
def test_the_command_line_starts_deploys_and_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cdk.out"
    out.mkdir()
    (out / "manifest.json").write_text(
        '{"artifacts": {"S": {"type": "aws:cloudformation:stack", "environment": "aws://unknown-account/unknown-region",'
        ' "properties": {"templateFile": "s.json"}}}}')
    (out / "s.json").write_text('{"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}')
    data = ["--data-dir", str(tmp_path / "data")]
    assert main(["up", "--cdk-out", str(out), "--region", "eu-west-1", "--detach", *data]) == 0
    assert "S (eu-west-1): CREATE_COMPLETE" in capsys.readouterr().out
    try:
        assert main(["deploy", "--cdk-out", str(out), "--region", "eu-west-1", *data]) == 0
        assert "UNCHANGED" in capsys.readouterr().out
        assert main(["up", *data]) == 1, "one server per data folder"
        assert "already runs" in capsys.readouterr().err
    finally:
        assert main(["down", *data]) == 0
    assert server.find(tmp_path / "data") is None


def test_deploying_where_nothing_runs_says_how_to_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--cdk-out", str(tmp_path), "--data-dir", str(tmp_path)]) == 1
    assert "python -m local up" in capsys.readouterr().err


@pytest.mark.parametrize(("settings", "said"), [
    ({"clock_factor": 0.5}, "1 or more"), ({"port": 70_000}, "to 65535")])
def test_settings_out_of_range_are_refused(tmp_path: Path, settings: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LocalConfig(data_dir=tmp_path, **settings)  # type: ignore[arg-type]


def test_the_server_listens_on_this_machine_only(aws: EmbeddedAws) -> None:
    port = f"{aws.running.config.port:04X}"
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [fields[1] for fields in sockets if fields[3] == "0A"]
    assert [address for address in listening if address.endswith(f":{port}")] == [f"0100007F:{port}"]


def test_nothing_of_the_project_is_imported(tmp_path: Path) -> None:
    code = f"""
import json, pathlib, sys
from local import process
from local.config import LocalConfig
config = LocalConfig(data_dir=pathlib.Path({str(tmp_path)!r}), port=1)
process._set_environment(config)
process.build(config)
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "ministack" in loaded
    assert not {"contracts", "lambdas", "model_code", "stacks", "cli", "fabric", "data", "mlplatform", "torch"} & loaded


def test_a_property_that_was_never_read_is_found_and_a_copied_one_is_not() -> None:
    watched = Watched({"Name": "a", "Size": 1, "Tags": []})
    watched.get("Name")
    assert watched.unread("AWS::X::Y") == ["Size"]
    assert Watched({"Size": 1}).copy() == {"Size": 1}
    read_as_a_whole = Watched({"Size": 1})
    assert {**read_as_a_whole} == {"Size": 1}
    assert read_as_a_whole.unread("AWS::X::Y") == []


def test_the_table_leaves_out_what_did_not_pass() -> None:
    text = table({"A": {"t::test_it_works"}, "B": {"t::test_it_works", "t::test_it_fails"}}, {"t::test_it_fails"})
    assert "| A | it works |" in text
    assert "| B |" not in text
