"""`mangaassist cost`: sums worked out by hand, what has no price, what tools read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import idle_cost, main
from cli.cost import cost_report, story_cost
from cli.errors import CliError
from contracts import prices
from contracts.deployments import DEPLOYMENTS, Deployment
from contracts.stories import CONTRACTS, INTENT_CLASSIFIER, ROSTER
from contracts.story import JobSizing

run = CliRunner().invoke
SNAPSHOTS = Path(__file__).parents[2] / "infrastructure" / "snapshots"

TINY = {
    "Key": {"Type": "AWS::KMS::Key"},
    "OtherKey": {"Type": "AWS::KMS::Key", "Properties": {"KeySpec": "ECC_NIST_P256"}},
    "Secret": {"Type": "AWS::SecretsManager::Secret"},
    "Board": {"Type": "AWS::CloudWatch::Dashboard"},
    "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "m", "Period": 300}},
    "Ratio": {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "Metrics": [
                {"Expression": "a / b"},
                {"MetricStat": {"Period": 300}},
                {"MetricStat": {"Period": 10}},
            ]
        },
    },
    "Both": {"Type": "AWS::CloudWatch::CompositeAlarm"},
    "S3": {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"VpcEndpointType": "Gateway"}},
    "Glue": {
        "Type": "AWS::EC2::VPCEndpoint",
        "Properties": {"VpcEndpointType": "Interface", "SubnetIds": [{"Ref": "A"}, {"Ref": "B"}]},
    },
    "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {"BillingMode": "PAY_PER_REQUEST"}},
    "Flag": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "true"}},
    "Role": {"Type": "AWS::IAM::Role"},
}
# two keys 2.00, a secret 0.40, a dashboard 3.00, two alarm metrics 0.20 and a fast one 0.30, a composite one 0.50,
# one interface endpoint in two zones 2 x 0.014 x 730 = 20.44
TINY_JP_USD = 2.00 + 0.40 + 3.00 + 0.20 + 0.30 + 0.50 + 20.44


def synthesised(folder: Path, resources: dict[str, object], deployment: str = "jp") -> Path:
    stage = folder / f"assembly-{deployment}"
    stage.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}", "utf-8")
    (stage / "Room.template.json").write_text(json.dumps({"Resources": resources}), "utf-8")
    return folder


def idle(folder: Path, region: str = "ap-northeast-1") -> list[idle_cost.IdleItem]:
    return idle_cost.standing_items(idle_cost.templates_of(folder, "jp"), region)


def test_what_stands_is_counted_and_priced_by_hand(tmp_path: Path) -> None:
    items = idle(synthesised(tmp_path, TINY))
    assert {(i.what, i.quantity) for i in items} == {
        ("KMS key", 2), ("secret", 1), ("dashboard", 1), ("alarm", 2), ("high-resolution alarm", 1),
        ("composite alarm", 1), ("interface endpoint", 2),
    }  # fmt: skip
    assert sum(i.usd_per_month for i in items) == pytest.approx(TINY_JP_USD)
    assert items[0].what == "interface endpoint"  # dearest first


def test_five_private_interfaces_cost_what_the_network_says_of_them(tmp_path: Path) -> None:
    interfaces = {f"Interface{i}": TINY["Glue"] for i in range(5)}
    folder = synthesised(tmp_path, interfaces)
    total = sum(item.usd_per_month for d in DEPLOYMENTS for item in idle(folder, d.region))
    assert total == pytest.approx(5 * 2 * 730 * (0.014 + 0.010 + 0.011))
    assert 250 < total < 320


def test_a_deployments_idle_cost_is_its_fleets_and_what_its_templates_hold(tmp_path: Path) -> None:
    report = cost_report(synthesised(tmp_path, TINY))
    jp, us, eu = report.deployments
    assert jp.usd_per_month == pytest.approx(2 * 2.044 * 730 + TINY_JP_USD)
    assert us.usd_per_month == pytest.approx(2 * 1.408 * 730)  # not synthesised: its fleet alone
    assert (jp.templates, us.templates, eu.templates) == (1, 0, 0)


@pytest.mark.parametrize(("resource", "message"), [
    ({"Type": "AWS::EC2::NatGateway"}, r"template\.json: Odd is a AWS::EC2::NatGateway.*STANDING or NOTHING_STANDS"),
    ({"Type": "AWS::DynamoDB::Table"}, "Odd: BillingMode 'PROVISIONED' costs money.*allowed is 'PAY_PER_REQUEST'"),
    ({"Type": "AWS::SSM::Parameter", "Properties": {"Tier": "Advanced"}}, "Tier 'Advanced'.*allowed is 'Standard'"),
    ({"Type": "AWS::EC2::VPCEndpoint", "Properties": {"VpcEndpointType": "GatewayLoadBalancer"}},
     "type 'GatewayLoadBalancer' has no price: allowed are Gateway, Interface"),
    ({"Type": "AWS::ElastiCache::ReplicationGroup", "Properties": {"CacheNodeType": "cache.r9.huge",
                                                                  "NumCacheClusters": 2}},
     "no price for 'cache.r9.huge' in 'ap-northeast-1'.*known cache nodes: "),
    ({"Type": "AWS::EMRServerless::Application", "Properties": {"InitialCapacity": [{"Key": "Driver"}]}},
     "Odd: InitialCapacity keeps workers that cost money while idle"),
    ({"Type": "AWS::ElastiCache::ReplicationGroup"}, "has no 'CacheNodeType', which its price depends on"),
])  # fmt: skip
def test_what_has_no_price_ends_the_count_and_is_named(
    tmp_path: Path, resource: dict[str, object], message: str
) -> None:
    folder = synthesised(tmp_path, {"Odd": resource})
    with pytest.raises(CliError, match=message):
        cost_report(folder)


def test_a_region_without_prices_is_named_with_those_that_have_them(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"in 'mars-1'.*known regions: ap-northeast-1, eu-west-1, us-east-1"):
        idle(synthesised(tmp_path, TINY), "mars-1")


def test_cache_nodes_are_priced_by_the_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prices.CACHE_NODE_USD_PER_HOUR, "cache.x", {"ap-northeast-1": 0.05})
    group = {"Type": "AWS::ElastiCache::ReplicationGroup",
             "Properties": {"CacheNodeType": "cache.x", "NumCacheClusters": 2}}  # fmt: skip
    (item,) = idle(synthesised(tmp_path, {"Cache": group}))
    assert (item.what, item.quantity, item.usd_per_month) == ("cache node cache.x", 2, pytest.approx(73.0))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d.name)
def test_every_resource_of_the_real_templates_can_be_priced(deployment: Deployment) -> None:
    templates = sorted(SNAPSHOTS.glob(f"{deployment.name}-*.json"))
    items = {item.what: item for item in idle_cost.standing_items(templates, deployment.region)}
    assert len(templates) >= 4
    assert items["KMS key"].quantity >= 2
    assert items["alarm"].quantity >= 20


# --- stories ---------------------------------------------------------------------------


def test_a_storys_upper_ends_by_hand() -> None:
    cost = story_cost(INTENT_CLASSIFIER)
    # prepare 1 h x 0.149, train 4 h x 2.044, evaluate 1 h x 0.270, in Tokyo
    assert cost.training_usd_at_most == pytest.approx(0.149 + 8.176 + 0.270)
    # 6,000 a minute and instance: 100,000 take 1/3.6 of an hour
    assert {r.deployment: r.usd_per_100k for r in cost.requests} == {
        "jp": pytest.approx(2.044 / 3.6), "us": pytest.approx(1.408 / 3.6), "eu": pytest.approx(1.571 / 3.6),
    }  # fmt: skip
    # two instances in Tokyo stand for 2,984.24 USD a month, which 1.80 per 100,000 pay at 165.8 million
    assert cost.requests[0].standing_fleet_within_budget_from == pytest.approx(2984.24 / 1.80 * 1e5)
    assert cost.over_budget == ()


def test_the_budgets_gate_judges_the_contracts_own_numbers() -> None:
    long = replace(INTENT_CLASSIFIER, training=replace(INTENT_CLASSIFIER.training, max_runtime_s=6 * 3_600))
    assert story_cost(long).over_budget == ("training_usd: must be <= 12, got 12.68",)
    lazy = replace(INTENT_CLASSIFIER, serving=replace(INTENT_CLASSIFIER.serving, invocations_per_instance=1_500))
    # too dear in Tokyo alone (2.27; us 1.56, eu 1.75)
    assert story_cost(lazy).over_budget == ("serving_usd_per_100k: must be <= 1.8, got 2.271",)


def test_a_budget_that_is_no_gate_is_no_contract() -> None:
    with pytest.raises(ValueError, match=r"intent-classifier: the budget is a gate.*lack training_usd"):
        replace(INTENT_CLASSIFIER, budget=replace(INTENT_CLASSIFIER.budget, usd_per_training_run=99.0))


def test_an_instance_type_without_a_price_is_named_with_the_known_ones() -> None:
    sizing = JobSizing(instance_type="ml.p9.huge", instances=1, volume_gb=1, max_runtime_s=1)
    odd = {INTENT_CLASSIFIER.slug: replace(INTENT_CLASSIFIER, training=sizing)}
    with pytest.raises(CliError, match=r"no price for 'ml\.p9\.huge'.*known instances: ml\.c7i\.xlarge"):
        cost_report(None, contracts=odd)


# --- the command -----------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without build/cdk.out."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_json_that_tools_read(elsewhere: Path) -> None:
    done = run(main.app, ["cost", "--json", "--cdk-out", str(synthesised(elsewhere / "out", TINY))])
    assert done.exit_code == 0
    report = json.loads(done.output)
    assert set(report) == {"currency", "prices_as_of", "price_sources", "cdk_out", "deployments", "stories",
                           "over_budget", "counted", "not_counted"}  # fmt: skip
    assert (report["currency"], report["prices_as_of"], report["over_budget"]) == ("USD", prices.AS_OF, [])
    jp = report["deployments"][0]
    assert (jp["deployment"], jp["region"], jp["templates"]) == ("jp", "ap-northeast-1", 1)
    assert jp["usd_per_month"] == pytest.approx(sum(item["usd_per_month"] for item in jp["items"]))
    assert set(jp["items"][0]) == {"what", "quantity", "usd_per_month_each", "usd_per_month"}
    stories = {story["slug"]: story for story in report["stories"]}
    assert list(stories) == list(ROSTER)
    intent = stories["intent-classifier"]
    assert [job["job"] for job in intent["training_run"]["jobs"]] == ["prepare", "train", "evaluate"]
    assert [r["deployment"] for r in intent["requests"]["deployments"]] == ["jp", "us", "eu"]
    assert stories["spam"] == {"code": "US-MLE-07", "slug": "spam", "owner": "trust-ml", "declared": False,
                               "training_run": None, "requests": None, "over_budget": []}  # fmt: skip


def test_the_table_says_what_was_not_counted(elsewhere: Path) -> None:
    done = run(main.app, ["cost"])
    assert done.exit_code == 0
    assert done.output.count("endpoints only: no templates of it") == len(DEPLOYMENTS)
    assert done.output.count("not declared yet") == 2 * (len(ROSTER) - len(CONTRACTS))
    assert "not counted" in done.output
    assert "8.59 of 12.00" in done.output


def test_a_folder_without_templates_is_refused(elsewhere: Path) -> None:
    done = run(main.app, ["cost", "--cdk-out", "nowhere"])
    assert "nowhere holds no synthesised templates" in str(done.exception)


def test_over_budget_fails_the_command_after_its_report(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = replace(INTENT_CLASSIFIER, training=replace(INTENT_CLASSIFIER.training, max_runtime_s=6 * 3_600))
    monkeypatch.setattr(main, "cost_report", lambda cdk_out: cost_report(cdk_out, contracts={long.slug: long}))
    monkeypatch.setattr("sys.argv", ["mangaassist", "cost"])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    assert "12.68 of 12.00" in printed.out
    assert "over budget: intent-classifier: training_usd: must be <= 12, got 12.68" in printed.err
