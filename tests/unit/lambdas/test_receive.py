"""Outside home: what home announces is verified, copied, signed anew and registered, or refused by name."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.stub import Stubber
from cryptography.hazmat.primitives.asymmetric import ec

from contracts import manifests, naming, records
from contracts.announcements import Announcement, AnnouncementError, Signed, key_digest
from lambdas.announce.handler import handler as announce
from lambdas.receive_copy import files as copying
from lambdas.receive_copy.handler import handler as receive_copy
from lambdas.receive_plan.handler import handler as receive_plan
from lambdas.shared import aws as lambda_aws
from lambdas.shared.errors import EvidenceMissing, NeverPromoted, OlderVersion, SignatureInvalid
from lambdas.shared.signatures import is_signed
from tests.unit.lambdas.account import ARTIFACTS, HOME_ARTIFACTS, STORY, Account
from tests.unit.lambdas.evidence import passing_report
from tests.unit.lambdas.test_p256 import KEY, public, signed
from tests.unit.lambdas.test_publish import described, package_arn, summary

Stub = Callable[[str], Stubber]
FILES = {"serving/model.bin": b"weights" * 300_000, "pytorch/model.safetensors": b"w" * 3_000_000,
         "training.json": b"{}", naming.DRIFT_REFERENCE_FILE: b"{}",
         naming.EVALUATION_FILE: json.dumps(passing_report()).encode()}
HOME_VERSION = 7
OTHER = ec.derive_private_key(0xF00D, ec.SECP256R1())
VERDICT = "s3://home-artifacts/runs/intent-classifier/weekly/evaluation/verdict.json"


@dataclass
class Home:
    """Home's bucket with one published, announced version, signed by home's own key."""

    account: Account
    key: ec.EllipticCurvePrivateKey  # not moto's, whose KMS hashes a digest once more
    public_key: bytes
    manifest: bytes
    prefix: str

    @property
    def digest(self) -> str:
        return manifests.digest(self.manifest).hex()

    def put(self, name: str, body: bytes) -> None:
        self.account.put_object(HOME_ARTIFACTS, self.prefix + name, body)

    def sign_manifest(self, key: ec.EllipticCurvePrivateKey) -> None:
        self.put("manifest.json", self.manifest)
        self.put("manifest.sig", signed(key, manifests.digest(self.manifest)))

    def announce(self, *, key: ec.EllipticCurvePrivateKey | None = None, **changes: Any) -> None:
        values = {"story": STORY, "version": HOME_VERSION, "manifest_sha256": self.digest, "label_version_to": "7",
                  "verdict_uri": VERDICT, "token": 3}
        said = Announcement(**{**values, **changes})
        digest = manifests.digest(said.statement())
        body = Signed(announcement=said, public_key=self.public_key, signature=signed(key or self.key, digest))
        self.account.put_object(HOME_ARTIFACTS, naming.announcement(STORY), body.to_bytes())

    def copied(self) -> dict[str, bytes]:
        s3 = self.account.s3
        listed = s3.list_objects_v2(Bucket=ARTIFACTS, Prefix=self.prefix).get("Contents", [])
        return {e["Key"].removeprefix(self.prefix): s3.get_object(Bucket=ARTIFACTS, Key=e["Key"])["Body"].read()
                for e in listed}


@pytest.fixture
def home(account: Account, monkeypatch: pytest.MonkeyPatch) -> Home:
    manifest = manifests.canonical({name: hashlib.sha256(body).hexdigest() for name, body in FILES.items()},
                                   story=STORY, lineage={"run_id": "weekly"})
    found = Home(account, KEY, public(KEY), manifest, naming.model_prefix(STORY, manifests.digest(manifest).hex()))
    for name, body in FILES.items():
        found.put(name, body)
    found.sign_manifest(KEY)
    found.announce()
    monkeypatch.setenv("HOME_KEY_SHA256", key_digest(found.public_key))
    lambda_aws.environment.cache_clear()
    return found


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PART_BYTES", 1 << 20)
    # moto refuses parts that S3 would refuse
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1 << 18)


def plan(context: Any) -> dict[str, Any]:
    return receive_plan({"story": STORY}, context)


def copy(home: Home, context: Any, **changes: Any) -> dict[str, Any]:
    return receive_copy({
        "story": STORY, "version": str(HOME_VERSION), "manifest_sha256": home.digest, "verdict_uri": VERDICT,
        "public_key": base64.b64encode(home.public_key).decode(), **changes}, context)


def expect_no_package(stub: Stub) -> None:
    stub("sagemaker").add_response("list_model_packages", {"ModelPackageSummaryList": []})


def serves(home: Home, stub: Stub, *, home_version: str | None) -> None:
    """The pointer names a version of this region that was once received."""
    home.account.put_control(records.POINTER, manifest_sha256="d" * 64, model_package_arn=package_arn(2))
    properties = {"CustomerMetadataProperties": {"home_version": home_version}} if home_version else {}
    stub("sagemaker").add_response("describe_model_package", {**described(2, None), **properties})
    expect_no_package(stub)


# --- what home announces -----------------------------------------------------------------------


def test_home_announces_what_its_pointer_names_so_that_a_receiver_can_read_it(
    account: Account, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.put_control(records.POINTER, version="7", manifest_sha256="a" * 64, label_version_to="9",
                        verdict_uri=VERDICT, token=4)
    assert announce({"story": STORY}, context) == {"version": "7"}
    body = account.s3.get_object(Bucket=ARTIFACTS, Key=naming.announcement(STORY))["Body"].read()
    account.put_object(HOME_ARTIFACTS, naming.announcement(STORY), body)
    public_key = account.kms.get_public_key(KeyId=account.key_arn)["PublicKey"]
    assert Signed.parse(body).announcement == Announcement(
        story=STORY, version=7, manifest_sha256="a" * 64, label_version_to="9", verdict_uri=VERDICT, token=4)
    assert Signed.parse(body).public_key == public_key


def test_home_has_nothing_to_announce_before_its_first_promotion(account: Account, context: Any) -> None:
    with pytest.raises(NeverPromoted, match="nothing to announce"):
        announce({"story": STORY}, context)


def test_a_new_version_of_home_is_worth_receiving(home: Home, context: Any, stub: Stub) -> None:
    expect_no_package(stub)
    assert plan(context) == {
        "status": "new", "version": "7", "manifest_sha256": home.digest, "label_version_to": "7",
        "verdict_uri": VERDICT, "public_key": base64.b64encode(home.public_key).decode()}


def test_before_homes_first_promotion_there_is_nothing(home: Home, context: Any) -> None:
    home.account.s3.delete_object(Bucket=HOME_ARTIFACTS, Key=naming.announcement(STORY))
    assert plan(context)["status"] == "nothing"


def test_what_serves_already_is_up_to_date_without_asking_the_registry(home: Home, context: Any, stub: Stub) -> None:
    stub("sagemaker")  # which would refuse any call
    home.account.put_control(records.POINTER, manifest_sha256=home.digest, model_package_arn=package_arn(2))
    assert plan(context)["status"] == "up_to_date"


def test_a_version_that_this_region_went_back_from_is_left_alone(home: Home, context: Any, stub: Stub) -> None:
    sagemaker = stub("sagemaker")
    sagemaker.add_response("list_model_packages", {"ModelPackageSummaryList": [summary(3)]})
    sagemaker.add_response("describe_model_package", {
        **described(3, home.digest), "ModelApprovalStatus": "Rejected"})
    assert plan(context)["status"] == "rejected_here"


@pytest.mark.parametrize(("serving", "said"), [("8", "its version 8 serves here"), ("7", "its version 7 serves here")])
def test_an_older_version_or_another_one_of_the_same_number_is_refused(
    home: Home, context: Any, stub: Stub, serving: str, said: str
) -> None:
    serves(home, stub, home_version=serving)
    with pytest.raises(OlderVersion, match=said):
        plan(context)


def test_a_newer_version_than_the_one_that_serves_is_new(home: Home, context: Any, stub: Stub) -> None:
    serves(home, stub, home_version="6")
    assert plan(context)["status"] == "new"


def test_when_what_serves_does_not_say_where_it_comes_from_nothing_is_newer(
    home: Home, context: Any, stub: Stub
) -> None:
    serves(home, stub, home_version=None)
    with pytest.raises(EvidenceMissing, match="does not say which version of home it is"):
        plan(context)


def test_an_unreachable_registry_is_an_error_and_not_an_answer(home: Home, context: Any, stub: Stub) -> None:
    home.account.put_control(records.POINTER, manifest_sha256="d" * 64, model_package_arn=package_arn(2))
    stub("sagemaker").add_client_error("describe_model_package", "ServiceUnavailable", http_status_code=503)
    with pytest.raises(Exception, match="ServiceUnavailable"):
        plan(context)


# --- whom to believe ---------------------------------------------------------------------------


def test_a_deployment_that_was_never_told_homes_key_believes_nobody(
    home: Home, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME_KEY_SHA256", "unset")
    lambda_aws.environment.cache_clear()
    with pytest.raises(SignatureInvalid, match=r"set the context `home_key_sha256`.*it is 'unset'"):
        plan(context)


def test_another_key_than_the_pinned_one_is_refused_however_well_it_signs(home: Home, context: Any) -> None:
    home.public_key = public(OTHER)
    home.announce(key=OTHER)
    with pytest.raises(SignatureInvalid, match="but the pinned key of home is"):
        plan(context)
    with pytest.raises(SignatureInvalid, match="but the pinned key of home is"):
        copy(home, context)


def test_a_signature_by_another_key_under_homes_name_is_refused(home: Home, context: Any) -> None:
    home.announce(key=OTHER)
    with pytest.raises(SignatureInvalid, match=r"promoted\.json: the signature is not home's"):
        plan(context)
    home.sign_manifest(OTHER)
    with pytest.raises(SignatureInvalid, match="the signature is not home's"):
        copy(home, context)


def test_a_manifests_signature_is_no_announcements(home: Home) -> None:
    body = json.loads(Signed(announcement=Announcement(
        story=STORY, version=1, manifest_sha256="a", label_version_to="1", verdict_uri="v", token=1),
        signature=b"s", public_key=b"k").to_bytes())
    for spoilt in ({**body, "statement": home.manifest.decode()}, {**body, "signature": "?"}, {"statement": "{}"}, [],
                   {**body, "statement": body["statement"].replace('"version":1', '"version":true')},
                   {**body, "statement": body["statement"].replace("promotion-1", "promotion-2")}):
        with pytest.raises(AnnouncementError):
            Signed.parse(json.dumps(spoilt).encode())


def test_an_announcement_for_another_story_is_refused(home: Home, context: Any) -> None:
    home.announce(story="spam-abuse")
    with pytest.raises(SignatureInvalid, match="signed for story 'spam-abuse'"):
        plan(context)


# --- copying -----------------------------------------------------------------------------------


def test_every_file_is_copied_and_signed_by_this_regions_key_and_registered_as_pending(
    home: Home, context: Any, stub: Stub, small_parts: None
) -> None:
    expect_no_package(stub)
    sent: dict[str, Any] = {}
    stub("sagemaker").client.meta.events.register_last(
        "provide-client-params.sagemaker.CreateModelPackage", lambda params, **_: sent.update(params))
    stub("sagemaker").add_response("create_model_package", {"ModelPackageArn": package_arn(3)})
    answer = copy(home, context)
    assert answer == {"done": True, "version": "3", "model_uri": f"s3://{ARTIFACTS}/{home.prefix}",
                      "model_package_arn": package_arn(3)}
    found = home.copied()
    assert found.pop("manifest.json") == home.manifest, "one digest names one model in every region"
    signature = found.pop("manifest.sig")
    assert is_signed(home.account.kms, key=home.account.key_arn, manifest=home.manifest, signature=signature)
    assert signature != home.account.s3.get_object(
        Bucket=HOME_ARTIFACTS, Key=home.prefix + "manifest.sig")["Body"].read()
    assert found == FILES
    assert sent["ModelApprovalStatus"] == "PendingManualApproval"
    properties = sent["CustomerMetadataProperties"]
    assert {name: properties[name] for name in ("home_version", "manifest_sha256", "run_id", "code_sha256")} == {
        "home_version": "7", "manifest_sha256": home.digest, "run_id": "weekly", "code_sha256": "c" * 64}
    assert home.account.s3.list_multipart_uploads(Bucket=ARTIFACTS).get("Uploads", []) == []


@pytest.mark.parametrize("name", ["pytorch/model.safetensors", "training.json"])
def test_a_flipped_byte_is_never_there_and_the_model_is_not_signed(
    home: Home, context: Any, small_parts: None, name: str
) -> None:
    home.put(name, b"?" + FILES[name][1:])
    with pytest.raises(SignatureInvalid, match=rf"{name} differs from home's signed manifest"):
        copy(home, context)
    assert not {name, "manifest.json", "manifest.sig"} & home.copied().keys()
    assert home.account.s3.list_multipart_uploads(Bucket=ARTIFACTS).get("Uploads", []) == []


def test_an_unlisted_and_a_missing_file_of_home_are_refused(home: Home, context: Any) -> None:
    home.put("serving/hook.py", b"import os")
    with pytest.raises(SignatureInvalid, match=r"serving/hook\.py is not in the signed manifest"):
        copy(home, context)
    for name in ("serving/hook.py", "training.json"):
        home.account.s3.delete_object(Bucket=HOME_ARTIFACTS, Key=home.prefix + name)
    with pytest.raises(SignatureInvalid, match=r"training\.json is in the signed manifest but missing"):
        copy(home, context)
    assert home.copied() == {}


def test_a_file_that_nobody_signed_in_this_regions_own_bucket_is_refused(home: Home, context: Any) -> None:
    home.account.put_object(ARTIFACTS, home.prefix + "serving/hook.py", b"import os")
    with pytest.raises(SignatureInvalid, match=rf"s3://{ARTIFACTS}/.*serving/hook\.py is not in the signed manifest"):
        copy(home, context)


def test_another_manifest_than_the_announced_one_and_none_at_all_are_refused(home: Home, context: Any) -> None:
    home.put("manifest.json", home.manifest.replace(b"weekly", b"weekli"))
    with pytest.raises(SignatureInvalid, match="not the one that home announces"):
        copy(home, context)
    home.account.s3.delete_object(Bucket=HOME_ARTIFACTS, Key=home.prefix + "manifest.sig")
    with pytest.raises(SignatureInvalid, match="home's model is not signed"):
        copy(home, context)


def test_what_time_did_not_suffice_for_is_copied_by_the_next_call(
    home: Home, context: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurried = SimpleNamespace(**{**vars(context), "get_remaining_time_in_millis": lambda: 1_000})
    assert copy(home, hurried)["done"] is False
    assert len(home.copied()) == 1, "one file a call, however short the time"
    home.account.put_object(ARTIFACTS, home.prefix + "training.json", b"half of it")  # is hashed, not believed
    expect_no_package(stub)
    stub("sagemaker").add_response("create_model_package", {"ModelPackageArn": package_arn(3)})
    assert copy(home, context)["done"] is True
    first = home.copied()
    assert first["training.json"] == FILES["training.json"]
    # and once more, when the answer was lost: the same signature, the same package
    stub("sagemaker").add_response("list_model_packages", {"ModelPackageSummaryList": [summary(3)]})
    stub("sagemaker").add_response("describe_model_package", described(3, home.digest))
    assert copy(home, context)["version"] == "3"
    assert home.copied() == first


def test_a_version_without_its_lineage_is_not_registered_here_either(home: Home, context: Any) -> None:
    report = {**passing_report(), "lineage": {}}
    bare = {**FILES, naming.EVALUATION_FILE: json.dumps(report).encode()}
    hashed = {name: hashlib.sha256(body).hexdigest() for name, body in bare.items()}
    home.manifest = manifests.canonical(hashed, story=STORY, lineage={})
    home.prefix = naming.model_prefix(STORY, home.digest)
    for name, body in bare.items():
        home.put(name, body)
    home.sign_manifest(KEY)
    with pytest.raises(EvidenceMissing, match=r"not received: .*code_sha256"):
        copy(home, context)
