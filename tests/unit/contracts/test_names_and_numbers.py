"""Names, prices, sizes, settings: the small contracts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

import pytest

from contracts import metrics, naming, pipeline, prices
from contracts.deployments import DEPLOYMENTS, deployment
from contracts.environment import Environment
from contracts.functions import FUNCTIONS, LeaseEnv, NoEnv
from contracts.instances import takes_volume_key
from contracts.language import detect_language, japanese_share
from contracts.serving import CanaryPolicy, ServingSpec, ShadowPolicy
from contracts.stories import CONTRACTS, ROSTER, deploy_order, story
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from contracts.taxonomies import MANGA14_V1, SNIPS_V1, TAXONOMIES, Taxonomy, slice_key

# --- names ---------------------------------------------------------------------------


def test_a_slug_has_one_python_and_one_pascal_form() -> None:
    assert naming.snake("intent-classifier") == "intent_classifier"
    assert naming.pascal("intent-classifier") == "IntentClassifier"
    assert naming.stack("jp", "intent-classifier") == "MangaAssist-jp-IntentClassifier"


@pytest.mark.parametrize("slug", ["", "Intent", "a_b", "a--b", "-a", "a-", "1a", "a\n"])
def test_a_slug_that_is_none_is_refused(slug: str) -> None:
    with pytest.raises(ValueError, match="lower-case words joined by '-'"):
        naming.check_slug(slug)


def test_an_unknown_bucket_purpose_names_the_allowed_ones() -> None:
    assert naming.bucket("lake", "jp", "123") == "mangaassist-lake-jp-123"
    with pytest.raises(ValueError, match="'x': allowed are lake, artifacts, capture, access-logs"):
        naming.bucket("x", "jp", "123")


def test_bucket_names_keep_s3s_limit_for_every_deployment() -> None:
    for purpose in naming.BUCKETS:
        for d in DEPLOYMENTS:
            assert re.fullmatch(r"[a-z0-9-]{3,63}", naming.bucket(purpose, d.name, "123456789012"))


def test_keys_of_one_story_never_lie_below_anothers() -> None:
    prefixes = [make(slug) for slug in ROSTER for make in (
        naming.all_models_prefix, naming.all_runs_prefix, naming.capture_prefix, naming.feedback_prefix)]
    assert len(prefixes) == 4 * len(ROSTER)
    assert not [(a, b) for a in prefixes for b in prefixes if a != b and a.startswith(b)]


def test_places_inside_a_bucket_are_below_their_storys_prefix() -> None:
    slug = "intent-classifier"
    assert naming.run_prefix(slug, "r").startswith(naming.all_runs_prefix(slug))
    assert naming.model_prefix(slug, "d" * 64) == f"{naming.all_models_prefix(slug)}{'d' * 16}/"
    assert naming.no_champion_prefix(slug).startswith(naming.all_models_prefix(slug))
    assert naming.dataset_prefix(slug, "r") == "datasets/intent-classifier/r/"
    assert naming.quarantine_prefix(slug, "b") == "quarantine/intent-classifier/b/"
    assert naming.pretrained_prefix("bert") == "pretrained/bert/"
    assert naming.incoming_labels(slug, "b-1").startswith(naming.incoming_prefix(slug, "b-1"))
    assert naming.incoming_taxonomy(slug, "b-1").startswith(naming.incoming_prefix(slug, "b-1"))
    assert not naming.incoming_labels(slug, "b-10").startswith(naming.incoming_prefix(slug, "b-1"))


def test_resources_are_named_after_project_and_story() -> None:
    slug = "intent-classifier"
    names = [
        naming.control_table("jp"), naming.audit_table("jp"), naming.retrain_state_machine(slug),
        naming.release_state_machine(slug), naming.label_ingest_state_machine(), naming.pipeline(slug),
        naming.endpoint(slug), naming.model_package_group(slug), naming.feature_group(slug, "cohort"),
        naming.capture_stream(slug), naming.function(slug, "lease"), naming.drift_alarm(slug, "input", "ja"),
        naming.guardrail_alarm(slug, "latency"), naming.image_repository("serving"),
        naming.sagemaker_model(slug, "12345", "d" * 64),
    ]
    assert all(name.startswith("mangaassist") and len(name) <= 63 for name in names)
    assert naming.serving_spec_parameter(slug) == "/mangaassist/serving-spec/intent-classifier"


def test_an_execution_name_is_legal_and_tells_keys_apart() -> None:
    assert naming.execution_name("drift", "11111111-2222") == "drift-11111111-2222"
    odd = [naming.execution_name("drift", key) for key in ("a b", "a:b", "a-b", "x" * 100, "x" * 101, "漫画")]
    assert len(set(odd)) == len(odd)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name) for name in odd)


# --- prices and instances --------------------------------------------------------------


def test_costs_by_hand() -> None:
    # half an hour on two machines
    assert prices.training_usd(seconds=1800, instance_type="ml.g5.xlarge", instances=2, region="us-east-1") \
        == pytest.approx(1.408)
    # 10 ms, one worker, half used: 180,000 requests an hour, so 100,000 cost 0.5556 h
    assert prices.serving_usd_per_100k(service_ms=10, instance_type="ml.m5.large", region="eu-west-1", workers=1,
                                       utilisation=0.5) == pytest.approx(0.128 * 100 / 180)


def test_a_missing_price_is_an_error_and_never_zero() -> None:
    with pytest.raises(ValueError, match=r"no price for 'ml\.p5\.48xlarge' in 'us-east-1' as of .*known instances: ml"):
        prices.usd_per_hour("ml.p5.48xlarge", "us-east-1")
    with pytest.raises(ValueError, match="in 'mars-1'"):
        prices.usd_per_hour("ml.m5.large", "mars-1")


@pytest.mark.parametrize("wrong", [
    {"service_ms": 0}, {"service_ms": -1}, {"workers": 0}, {"utilisation": 0}, {"utilisation": 1.1},
    {"service_ms": float("nan")}, {"utilisation": float("nan")},
])
def test_a_serving_cost_needs_sensible_numbers(wrong: dict[str, float]) -> None:
    numbers: dict[str, float] = {"service_ms": 5, "workers": 1, "utilisation": 0.5, **wrong}
    with pytest.raises(ValueError, match="service_ms must be > 0"):
        prices.serving_usd_per_100k(instance_type="ml.m5.large", region="us-east-1", **numbers)  # type: ignore[arg-type]


def test_every_instance_a_contract_asks_for_has_a_price_in_every_region() -> None:
    for contract in CONTRACTS.values():
        for instance in (contract.prepare, contract.training, contract.evaluation):
            for d in DEPLOYMENTS:
                assert prices.usd_per_hour(instance.instance_type, d.region) > 0
        for d in DEPLOYMENTS:
            assert prices.usd_per_hour(contract.serving.instance_type, d.region) > 0


@pytest.mark.parametrize("table", [prices.USD_PER_HOUR, prices.CACHE_NODE_USD_PER_HOUR, prices.USD_PER_MONTH])
def test_every_price_is_known_in_every_region(table: dict[str, dict[str, float]]) -> None:
    for what, by_region in table.items():
        assert set(by_region) == {d.region for d in DEPLOYMENTS}, what
        assert all(usd > 0 for usd in by_region.values()), what


def test_a_fleet_at_its_target_by_hand() -> None:
    # 6,000 a minute are 360,000 an hour, so 100,000 cost 0.2778 h
    assert prices.target_usd_per_100k(invocations_per_minute=6_000, instance_type="ml.g5.xlarge", region="us-east-1") \
        == pytest.approx(1.408 / 3.6)
    with pytest.raises(ValueError, match="must be > 0, got 0"):
        prices.target_usd_per_100k(invocations_per_minute=0, instance_type="ml.g5.xlarge", region="us-east-1")


@pytest.mark.parametrize(("instance", "takes"), [
    ("ml.m5.large", True), ("ml.c7i.xlarge", True), ("ml.g5.xlarge", False), ("ml.m5d.large", False),
    ("ml.g4dn.12xlarge", False), ("ml.p4d.24xlarge", False), ("ml.inf2.xlarge", True),
])
def test_an_instance_with_a_disk_of_its_own_takes_no_key(instance: str, takes: bool) -> None:
    assert takes_volume_key(instance) is takes


def test_what_is_no_instance_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must look like ml\.m5\.large, got 'm5.large'"):
        takes_volume_key("m5.large")


# --- metrics, functions, environment ---------------------------------------------------------


def test_a_metric_has_exactly_its_dimensions() -> None:
    assert metrics.dimensions(metrics.INPUT_PSI, story="s", language="ja", monitor="input") \
        == {"Story": "s", "Language": "ja", "Monitor": "input"}
    assert metrics.dimensions(metrics.CANARY_ABORT, story="s") == {"Story": "s", "Language": "all"}
    with pytest.raises(ValueError, match="metric CanaryAbort has the dimensions Story, Language, got"):
        metrics.dimensions(metrics.CANARY_ABORT, story="s", flag="f")
    assert all(names[:2] == ("Story", "Language") for names in metrics.DIMENSIONS.values())


def test_a_functions_handler_and_limits_are_lambdas() -> None:
    assert len(FUNCTIONS) == 19
    for name, function in FUNCTIONS.items():
        assert function.handler == f"lambdas.{name}.handler.handler"
        assert 1 <= function.timeout_s <= 900
        assert 128 <= function.memory_mb <= 10_240
        assert all(re.fullmatch(r"[a-z0-9-]+:[A-Za-z0-9]+", action) for action in function.actions)


def test_the_environment_written_is_the_environment_read() -> None:
    written = LeaseEnv(CONTROL_TABLE="t", LEASE_TTL_S=60)
    assert written.to_environ() == {"CONTROL_TABLE": "t", "LEASE_TTL_S": "60"}
    assert LeaseEnv.from_environ(written.to_environ()) == written
    assert NoEnv.from_environ({}) == NoEnv()


def test_all_that_is_wrong_with_an_environment_is_said_at_once() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Env(Environment):
        NAME: str
        COUNT: int
        SHARE: float

    with pytest.raises(ValueError, match=r"Env: NAME is missing; COUNT must be int; SHARE must be float\. Set them"):
        Env.from_environ({"NAME": "", "COUNT": "x", "SHARE": "y"})
    assert Env.from_environ({"NAME": "n", "COUNT": "2", "SHARE": "0.5"}) == Env(NAME="n", COUNT=2, SHARE=0.5)


def test_a_setting_with_a_default_may_be_absent() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Env(Environment):
        NAME: str
        MODE: str = "plain"

    assert Env.from_environ({"NAME": "n"}) == Env(NAME="n", MODE="plain")
    assert Env.from_environ({"NAME": "n", "MODE": "other"}).MODE == "other"


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROL_TABLE", "t")
    monkeypatch.setenv("LEASE_TTL_S", "9")
    assert LeaseEnv.from_environ().LEASE_TTL_S == 9


# --- serving spec, pipeline ---------------------------------------------------------------------

SPEC = ServingSpec(
    story="s", instance_type="ml.m5.large", min_instances=1, max_instances=2, invocations_per_instance=10, image="i",
    role_arn="r", kms_key="k", subnets=("a",), security_groups=("b",), guardrail_alarms=("c",),
    canary=CanaryPolicy(percent=10, bake_s=60, termination_wait_s=60), environment={"A": "1"},
)


def test_a_serving_spec_survives_its_parameter_and_its_digest_follows_its_content() -> None:
    assert ServingSpec.from_json(SPEC.to_json()) == SPEC
    assert ServingSpec.from_json(SPEC.to_json()).digest() == SPEC.digest()
    changed = ServingSpec.from_json(SPEC.to_json().replace('"min_instances":1', '"min_instances":2'))
    assert changed.digest() != SPEC.digest()


def test_a_spec_of_before_shadows_is_read_and_keeps_its_names_whatever_shadow_it_gets() -> None:
    old = SPEC.to_json()
    assert "shadow" not in json.loads(old)
    shadow = ShadowPolicy(percent=50, watch_s=600, tolerated_disagreement=0.2, compared_percent=10)
    new = replace(ServingSpec.from_json(old), shadow=shadow)
    assert ServingSpec.from_json(new.to_json()) == new
    assert new.to_json() != old
    assert new.digest() == SPEC.digest(), "no fleet is replaced because it gets another shadow"
    assert ServingSpec.from_json(json.dumps({**json.loads(old), "shadow": None})) == SPEC


@pytest.mark.parametrize(("wrong", "said"), [
    ({"percent": 0}, "percent must be 1 to 100, got 0"), ({"percent": 101}, "percent must be 1 to 100, got 101"),
    ({"compared_percent": 0}, "compared_percent must be 1 to 100, got 0"),
    ({"watch_s": 119}, "watch_s must be 120 to 14400, got 119; for no shadow at all leave the policy out"),
    ({"watch_s": 14_401}, "got 14401"),
    ({"tolerated_disagreement": 1.0}, r"tolerated_disagreement must be between 0 and 1, got 1\.0"),
])
def test_a_shadow_is_watched_for_a_while_and_gets_some_requests(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ShadowPolicy(**{"percent": 10, "watch_s": 120, "tolerated_disagreement": 0.1, "compared_percent": 10, **wrong})


def test_a_shadow_config_goes_by_the_champions_name_and_fits_into_sagemakers_63_characters() -> None:
    champion, candidate = (naming.sagemaker_model("intent-classifier", v, "0123456789") for v in ("12345", "12346"))
    name = naming.shadow_config(champion, candidate, 100)
    assert name.startswith(champion)
    assert len(name) <= 63
    assert naming.champions_own_config(name) == naming.champions_own_config(champion) == champion
    assert len({name, naming.shadow_config(champion, candidate, 50), naming.shadow_config(champion, "other", 100)}) == 3


@pytest.mark.parametrize(("wrong", "said"), [
    ({"percent": 51}, r"percent must be 1 to 50 \(SageMaker's limit for CANARY\), got 51"), ({"percent": 0}, "got 0"),
    ({"percent": 9, "routing": "LINEAR"}, r"percent must be 10 to 50 \(SageMaker's limit for LINEAR\), got 9"),
    ({"routing": "ROLLING"}, "routing must be CANARY or LINEAR, got 'ROLLING'"),
    ({"bake_s": 3601}, "must be 0 to 3600, got 3601, 60"), ({"termination_wait_s": -1}, "got 60, -1"),
])
def test_a_canary_keeps_sagemakers_limits(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CanaryPolicy(**{"percent": 10, "bake_s": 60, "termination_wait_s": 60, **wrong})


def test_pipeline_parameters_are_the_contracts_with_the_runs_own() -> None:
    run = {name: name.lower() for name in pipeline.RUN_PARAMETERS}
    found = {p["Name"]: p["Value"] for p in pipeline.parameters(
        INTENT_CLASSIFIER, run, {"MaxSteps": "10", pipeline.PRETRAINED_URI: "s3://a/b/"})}
    assert found["MaxSteps"] == "10"
    assert found["PretrainedUri"] == "s3://a/b/"
    assert found["OutputUri"] == "outputuri"
    assert found["LearningRate"] == INTENT_CLASSIFIER.hyperparameters["learning-rate"]


def test_a_pipeline_run_needs_all_its_addresses_and_no_invented_ones() -> None:
    with pytest.raises(ValueError, match=r"pipeline parameters RunId, DatasetUri, .* are missing"):
        pipeline.parameters(INTENT_CLASSIFIER, {}, {})
    with pytest.raises(ValueError, match="unknown hyperparameters OutputUri: allowed are BatchSize"):
        pipeline.parameters(INTENT_CLASSIFIER, {}, {"OutputUri": "s3://elsewhere/"})


# --- language, taxonomies, deployments, stories --------------------------------------------------------


@pytest.mark.parametrize(("text", "language"), [
    ("where is my order", "en"), ("", "en"), ("12345 ?!", "en"), ("注文はどこ", "ja"), ("ﾏﾝｶﾞ", "ja"),
    ("Tシャツの在庫", "ja"), ("One Pieceの新刊", "mixed"), ("ＯＫですか", "mixed"),
    ("naïve café", "en"), ("한국어", "en"),
])
def test_language_is_told_by_script(text: str, language: str) -> None:
    assert detect_language(text) == language


def test_the_share_of_japanese_counts_letters_only() -> None:
    assert japanese_share("あa 1!") == 0.5
    assert japanese_share("123") == 0.0
    assert japanese_share("漫画") == 1.0


def test_the_products_taxonomy_has_eighteen_slices_and_the_public_one_has_one() -> None:
    assert len(MANGA14_V1.required_slices()) == 18
    assert SNIPS_V1.required_slices() == ({"language": "en"},)
    assert slice_key(MANGA14_V1.required_slices()[0]) == "language=en,cohort=new,daypart=peak"
    assert set(TAXONOMIES) == {"snips-v1", "manga14-v1"}


@pytest.mark.parametrize(("wrong", "said"), [
    ({"labels": ("a", "a")}, r"needs at least two labels, got \['a', 'a'\]"),
    ({"safety_critical": ("z",)}, r"safety-critical labels \['z'\]"),
    ({"languages": ()}, "needs at least one language"),
    ({"languages": ("fr",)}, r"languages \['fr'\] are unknown; allowed: en, ja, mixed"),
    ({"dayparts": ("noon",)}, r"dayparts \['noon'\] are unknown; allowed: peak, off_peak"),
])
def test_a_taxonomy_that_would_require_nothing_or_the_impossible_is_refused(
    wrong: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Taxonomy(**{"name": "t", "labels": ("a", "b"), "safety_critical": (), "languages": ("en",), **wrong})  # type: ignore[arg-type]


def test_there_is_one_home_and_an_unknown_deployment_names_the_known() -> None:
    assert [d.name for d in DEPLOYMENTS if d.home] == ["jp"]
    assert deployment("eu").region == "eu-west-1"
    with pytest.raises(ValueError, match="unknown deployment 'mars': allowed are jp, us, eu"):
        deployment("mars")


def test_stories_deploy_after_those_they_read_from() -> None:
    order = [entry.slug for entry in deploy_order()]
    assert sorted(order) == sorted(ROSTER)
    for entry in ROSTER.values():
        assert all(order.index(upstream) < order.index(entry.slug) for upstream in entry.upstream)
    assert order[0] == "intent-classifier"


def test_a_story_not_built_yet_is_told_from_an_unknown_one() -> None:
    assert story("intent-classifier") is INTENT_CLASSIFIER
    with pytest.raises(ValueError, match="'spam' is on the roster but not built yet"):
        story("spam")
    with pytest.raises(ValueError, match="unknown story 'x': allowed are intent-classifier"):
        story("x")


def test_the_intent_contract_holds_the_storys_acceptance_rows() -> None:
    gates = {g.name: g for g in INTENT_CLASSIFIER.gates}
    assert gates["macro_accuracy"].at_least == 0.90  # type: ignore[union-attr]
    assert (gates["slice_macro_f1"].at_least, gates["slice_macro_f1"].min_rows) == (0.85, 120)  # type: ignore[union-attr]
    assert gates["serving_p95_ms"].at_most == 15  # type: ignore[union-attr]
    assert gates["serving_p99_ms"].at_most == 35  # type: ignore[union-attr]
    assert gates["serving_usd_per_100k"].at_most == 1.80  # type: ignore[union-attr]
    assert gates["adversarial_regression"].allowed_drop == 0.01  # type: ignore[union-attr]
    assert INTENT_CLASSIFIER.labels.min_kappa == 0.75
    assert INTENT_CLASSIFIER.schedule.time_zone == "Asia/Tokyo"
    assert INTENT_CLASSIFIER.prefilter_min_confidence == 0.85
    monitors = {m.name: m for m in INTENT_CLASSIFIER.monitors}
    assert (monitors["input"].threshold, monitors["input"].min_requests) == (0.2, 200)
    assert (monitors["concept"].threshold, monitors["concept"].detect_within_s) == (0.03, 7 * 86_400)
    assert INTENT_CLASSIFIER.flags[0].name == "intent_classifier_promotion_enabled"
