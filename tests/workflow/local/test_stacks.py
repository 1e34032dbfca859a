"""CloudFormation: what it makes, updates, keeps and refuses."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.embedded import EmbeddedAws, eventually, unique

Template = dict[str, Any]


def settle(aws: EmbeddedAws, name: str) -> dict[str, Any]:
    client = aws.client("cloudformation")
    return dict(eventually(lambda: (s := client.describe_stacks(StackName=name)["Stacks"][0])
                           and not s["StackStatus"].endswith("_IN_PROGRESS") and s))


def create(aws: EmbeddedAws, resources: Template, name: str | None = None, **sections: Any) -> dict[str, Any]:
    name = name or unique("stack")
    aws.client("cloudformation").create_stack(
        StackName=name, TemplateBody=json.dumps({"Resources": resources, **sections}),
        Capabilities=["CAPABILITY_NAMED_IAM"])
    return settle(aws, name)


def update(aws: EmbeddedAws, name: str, resources: Template, **sections: Any) -> dict[str, Any]:
    aws.client("cloudformation").update_stack(
        StackName=name, TemplateBody=json.dumps({"Resources": resources, **sections}),
        Capabilities=["CAPABILITY_NAMED_IAM"])
    return settle(aws, name)


def outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}


def reasons(aws: EmbeddedAws, name: str) -> str:
    events = aws.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    return " / ".join(e.get("ResourceStatusReason", "") for e in events)


def parameter(name: str, value: Any, **more: Any) -> Template:
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Name": name, "Type": "String", "Value": value, **more}}


@pytest.mark.surface("CloudFormation: refusals")
@pytest.mark.parametrize("kind", [
    "AWS::Redshift::Cluster", "AWS::CloudFormation::Macro", "AWS::CodePipeline::Pipeline"])
def test_an_unsupported_type_is_refused_and_named(aws: EmbeddedAws, kind: str) -> None:
    with pytest.raises(ClientError, match=f"Unrecognized resource types: .{kind}"):
        create(aws, {"Odd": {"Type": kind, "Properties": {}}})


@pytest.mark.surface("CloudFormation: refusals")
def test_an_unsupported_property_fails_the_stack_and_is_named(aws: EmbeddedAws) -> None:
    stack = create(aws, {"Q": {"Type": "AWS::Logs::QueryDefinition", "Properties": {
        "Name": "q", "QueryString": "fields @message", "Colour": "red"}}})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "Colour" in reasons(aws, stack["StackName"])


@pytest.mark.surface("AWS::SSM::Parameter")
def test_an_update_keeps_a_parameters_value_unless_its_own_properties_changed(aws: EmbeddedAws) -> None:
    flag, other = f"/{unique('flag')}", f"/{unique('other')}"
    stack = create(aws, {"Flag": parameter(flag, "on"), "Other": parameter(other, "1")})
    ssm = aws.client("ssm")
    ssm.put_parameter(Name=flag, Value="off", Overwrite=True)
    update(aws, stack["StackName"], {"Flag": parameter(flag, "on"), "Other": parameter(other, "2")})
    assert ssm.get_parameter(Name=flag)["Parameter"]["Value"] == "off"
    assert ssm.get_parameter(Name=other)["Parameter"]["Value"] == "2"
    update(aws, stack["StackName"], {"Flag": parameter(flag, "on", Description="now"), "Other": parameter(other, "2")})
    assert ssm.get_parameter(Name=flag)["Parameter"]["Value"] == "on", "as on AWS: another property changed"


@pytest.mark.surface("AWS::SSM::Parameter")
def test_a_new_stack_tag_resets_a_parameter_as_it_does_on_aws(aws: EmbeddedAws) -> None:
    flag = f"/{unique('flag')}"
    resources = {"Flag": parameter(flag, "on")}
    stack = create(aws, resources)
    aws.client("ssm").put_parameter(Name=flag, Value="off", Overwrite=True)
    aws.client("cloudformation").update_stack(StackName=stack["StackName"], Tags=[{"Key": "k", "Value": "v"}],
                                              TemplateBody=json.dumps({"Resources": resources}))
    settle(aws, stack["StackName"])
    assert aws.client("ssm").get_parameter(Name=flag)["Parameter"]["Value"] == "on"


@pytest.mark.surface("CloudFormation: updates")
def test_an_update_touches_only_what_changed(aws: EmbeddedAws) -> None:
    keep, change = unique("keep"), unique("change")

    def topics(display: str) -> Template:
        return {"Keep": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": keep}},
                "Change": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": change, "DisplayName": display}}}

    stack = create(aws, topics("one"))
    aws.local("DELETE", "calls")
    assert update(aws, stack["StackName"], topics("two"))["StackStatus"] == "UPDATE_COMPLETE"
    found = aws.client("sns").get_topic_attributes(
        TopicArn=f"arn:aws:sns:{aws.region}:000000000000:{change}")["Attributes"]
    assert found["DisplayName"] == "two"


@pytest.mark.surface("CloudFormation: updates")
def test_an_unchanged_template_is_no_update(aws: EmbeddedAws) -> None:
    resources = {"Flag": parameter(f"/{unique('flag')}", "on")}
    stack = create(aws, resources)
    with pytest.raises(ClientError, match="No updates are to be performed"):
        update(aws, stack["StackName"], resources)


@pytest.mark.surface("CloudFormation: DeletionPolicy and UpdateReplacePolicy")
def test_what_is_to_be_retained_outlives_its_stack(aws: EmbeddedAws) -> None:
    kept, gone = unique("kept"), unique("gone")
    stack = create(aws, {
        "Kept": {"Type": "AWS::SQS::Queue", "DeletionPolicy": "Retain", "Properties": {"QueueName": kept}},
        "Gone": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": gone}}})
    client = aws.client("cloudformation")
    client.delete_stack(StackName=stack["StackName"])
    client.get_waiter("stack_delete_complete").wait(StackName=stack["StackId"], WaiterConfig={"Delay": 1})
    names = [u.rpartition("/")[2] for u in aws.client("sqs").list_queues().get("QueueUrls", [])]
    assert kept in names
    assert gone not in names


@pytest.mark.surface("CloudFormation: exports, Fn::ImportValue, Fn::Sub, Fn::Join, Fn::GetAtt")
def test_stacks_read_each_others_exports(aws: EmbeddedAws) -> None:
    name, export = unique("queue"), unique("export")
    create(aws, {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}},
           Outputs={"Arn": {"Value": {"Fn::GetAtt": ["Q", "Arn"]}, "Export": {"Name": export}}})
    reader = create(aws, {"P": parameter(f"/{unique('p')}", {
        "Fn::Join": ["|", [{"Fn::ImportValue": export}, {"Fn::Sub": "${AWS::Region}-${AWS::AccountId}"}]]})},
        Outputs={"Value": {"Value": {"Fn::GetAtt": ["P", "Value"]}}})
    arn = f"arn:aws:sqs:{aws.region}:000000000000:{name}"
    assert outputs(reader)["Value"] == f"{arn}|{aws.region}-000000000000"


@pytest.mark.surface("CloudFormation: Fn::GetStackOutput")
def test_a_stack_reads_another_stacks_output_without_an_export(aws: EmbeddedAws) -> None:
    value = {"V": {"Value": {"Fn::GetAtt": ["P", "Value"]}}}
    writer = create(aws, {"P": parameter(f"/{unique('p')}", "seen")}, Outputs=value)
    output = {"Fn::GetStackOutput": {"StackName": writer["StackName"], "OutputName": "V"}}
    reader = create(aws, {"P": parameter(f"/{unique('p')}", output)}, Outputs=value)
    assert outputs(reader)["V"] == "seen"


CUSTOM = """
import json, urllib.request
def handler(event, context):
    value = event["ResourceProperties"].get("Colour")
    failed = value == "bad"
    body = json.dumps({"Status": "FAILED" if failed else "SUCCESS", "Reason": "no such colour",
                       "Data": {"Shade": f"dark {value}"},
                       "PhysicalResourceId": f"colour-{value}", "StackId": event["StackId"],
                       "RequestId": event["RequestId"], "LogicalResourceId": event["LogicalResourceId"]}).encode()
    urllib.request.urlopen(urllib.request.Request(event["ResponseURL"], data=body, method="PUT",
                                                  headers={"content-type": ""}))
"""


@pytest.mark.surface("CloudFormation: custom resources")
def test_a_custom_resource_is_made_updated_and_failed_by_its_function(aws: EmbeddedAws) -> None:
    function = aws.function(CUSTOM)

    def resources(colour: str) -> Template:
        return {"C": {"Type": "Custom::Colour", "Properties": {"ServiceToken": function, "Colour": colour}}}

    shade = {"S": {"Value": {"Fn::GetAtt": ["C", "Shade"]}}, "Id": {"Value": {"Ref": "C"}}}
    stack = create(aws, resources("red"), Outputs=shade)
    assert outputs(stack) == {"S": "dark red", "Id": "colour-red"}
    assert outputs(update(aws, stack["StackName"], resources("blue"), Outputs=shade))["S"] == "dark blue"
    failed = create(aws, resources("bad"))
    assert failed["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "no such colour" in reasons(aws, failed["StackName"])


@pytest.mark.surface("iam: trust policies")
def test_a_template_whose_role_does_not_trust_the_service_fails(aws: EmbeddedAws) -> None:
    stack = create(aws, {"M": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {
        "RoleArn": aws.role("lambda.amazonaws.com"),
        "DefinitionString": json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})}}})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "cannot be assumed by states.amazonaws.com" in reasons(aws, stack["StackName"])


@pytest.mark.surface("AWS::StepFunctions::StateMachine")
def test_a_state_machines_definition_is_updated_with_its_substitutions(aws: EmbeddedAws) -> None:
    role = aws.role("states.amazonaws.com")

    def resources(result: str) -> Template:
        definition = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": "${Result}", "End": True}}}
        return {"M": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {
            "RoleArn": role, "DefinitionString": json.dumps(definition),
            "DefinitionSubstitutions": {"Result": result}}}}

    arn = {"Arn": {"Value": {"Ref": "M"}}}
    stack = create(aws, resources("one"), Outputs=arn)
    machine = outputs(stack)["Arn"]
    assert aws.run(machine)["output"] == "one"
    assert outputs(update(aws, stack["StackName"], resources("two"), Outputs=arn))["Arn"] == machine
    assert aws.run(machine)["output"] == "two"


@pytest.mark.surface("AWS::StepFunctions::StateMachine")
def test_a_template_with_a_broken_definition_fails(aws: EmbeddedAws) -> None:
    stack = create(aws, {"M": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {
        "RoleArn": aws.role("states.amazonaws.com"),
        "DefinitionString": json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}})}}})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "Missing 'Next' target: B" in reasons(aws, stack["StackName"])


def _vpc(aws: EmbeddedAws) -> Template:
    return {"Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
            "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24"}},
            "Group": {"Type": "AWS::EC2::SecurityGroup", "Properties": {
                "GroupDescription": "g", "VpcId": {"Ref": "Vpc"}}}}


@pytest.mark.surface("AWS::EC2::FlowLog")
def test_flow_logs(aws: EmbeddedAws) -> None:
    resources = {**_vpc(aws), "Logs": {"Type": "AWS::Logs::LogGroup"}, "Flow": {
        "Type": "AWS::EC2::FlowLog", "Properties": {
            "ResourceId": {"Ref": "Vpc"}, "ResourceType": "VPC", "TrafficType": "REJECT",
            "LogGroupName": {"Ref": "Logs"},
            "DeliverLogsPermissionArn": aws.role("vpc-flow-logs.amazonaws.com"), "MaxAggregationInterval": 60,
            "Tags": [{"Key": "k", "Value": "v"}]}}}
    stack = create(aws, resources, Outputs={"Vpc": {"Value": {"Ref": "Vpc"}}, "Flow": {"Value": {"Ref": "Flow"}}})
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons(aws, stack["StackName"])
    found = aws.client("ec2").describe_flow_logs(FlowLogIds=[outputs(stack)["Flow"]])["FlowLogs"][0]
    assert found["ResourceId"] == outputs(stack)["Vpc"]
    resources["Flow"]["Properties"]["TrafficType"] = "ALL"
    changed = update(aws, stack["StackName"], resources, Outputs={"Flow": {"Value": {"Ref": "Flow"}}})
    assert outputs(changed)["Flow"] != outputs(stack)["Flow"], "a flow log is replaced, never changed"
    assert aws.client("ec2").describe_flow_logs(FlowLogIds=[outputs(stack)["Flow"]])["FlowLogs"] == []


@pytest.mark.surface("AWS::EC2::SecurityGroupIngress and ::SecurityGroupEgress")
def test_single_security_group_rules(aws: EmbeddedAws) -> None:
    rule = {"GroupId": {"Fn::GetAtt": ["Group", "GroupId"]}, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    stack = create(aws, {
        **_vpc(aws),
        "In": {"Type": "AWS::EC2::SecurityGroupIngress", "Properties": {
            **rule, "SourceSecurityGroupId": {"Fn::GetAtt": ["Group", "GroupId"]}, "Description": "own"}},
        "Out": {"Type": "AWS::EC2::SecurityGroupEgress", "Properties": {**rule, "CidrIp": "10.0.0.0/16"}},
    }, Outputs={"Group": {"Value": {"Fn::GetAtt": ["Group", "GroupId"]}}})
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons(aws, stack["StackName"])
    group = aws.client("ec2").describe_security_groups(GroupIds=[outputs(stack)["Group"]])["SecurityGroups"][0]
    assert group["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == outputs(stack)["Group"]
    assert any(p.get("FromPort") == 443 for p in group["IpPermissionsEgress"])


@pytest.mark.surface("AWS::EC2::NetworkAcl, ::NetworkAclEntry, ::SubnetNetworkAclAssociation, ::DHCPOptions")
def test_network_acls_and_dhcp_options(aws: EmbeddedAws) -> None:
    stack = create(aws, {
        **_vpc(aws),
        "Acl": {"Type": "AWS::EC2::NetworkAcl", "Properties": {"VpcId": {"Ref": "Vpc"}}},
        "Entry": {"Type": "AWS::EC2::NetworkAclEntry", "Properties": {
            "NetworkAclId": {"Ref": "Acl"}, "RuleNumber": 100, "Protocol": 6, "RuleAction": "allow", "Egress": False,
            "CidrBlock": "10.0.0.0/16", "PortRange": {"From": 443, "To": 443}}},
        "Join": {"Type": "AWS::EC2::SubnetNetworkAclAssociation", "Properties": {
            "SubnetId": {"Ref": "Subnet"}, "NetworkAclId": {"Ref": "Acl"}}},
        "Dhcp": {"Type": "AWS::EC2::DHCPOptions", "Properties": {"DomainName": "example.internal"}},
        "Use": {"Type": "AWS::EC2::VPCDHCPOptionsAssociation", "Properties": {
            "VpcId": {"Ref": "Vpc"}, "DhcpOptionsId": {"Ref": "Dhcp"}}},
    }, Outputs={"Acl": {"Value": {"Ref": "Acl"}}})
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons(aws, stack["StackName"])
    acl = aws.client("ec2").describe_network_acls(NetworkAclIds=[outputs(stack)["Acl"]])["NetworkAcls"][0]
    assert [e["RuleNumber"] for e in acl["Entries"] if e["RuleAction"] == "allow"] == [100]


@pytest.mark.surface("AWS::CloudWatch::CompositeAlarm")
@pytest.mark.surface("AWS::Logs::QueryDefinition")
@pytest.mark.surface("AWS::CloudWatch::Alarm")
def test_alarms_with_math_composite_alarms_and_saved_queries(aws: EmbeddedAws) -> None:
    stat = {"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": 60, "Stat": "Sum"}

    def resources(threshold: int) -> Template:
        return {
            "Math": {"Type": "AWS::CloudWatch::Alarm", "Properties": {
                "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1, "Threshold": threshold,
                "Metrics": [{"Id": "m", "MetricStat": stat, "ReturnData": False},
                            {"Id": "e", "Expression": "m * 2", "ReturnData": True}]}},
            "Both": {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": {
                "AlarmRule": {"Fn::Sub": 'ALARM("${Math}")'}, "Tags": [{"Key": "k", "Value": "v"}]}},
            "Query": {"Type": "AWS::Logs::QueryDefinition", "Properties": {
                "Name": unique("query"), "QueryString": "fields @message"}}}

    names = {"Both": {"Value": {"Ref": "Both"}}, "Math": {"Value": {"Ref": "Math"}}}
    stack = create(aws, resources(1), Outputs=names)
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons(aws, stack["StackName"])
    assert update(aws, stack["StackName"], resources(2), Outputs=names)["StackStatus"] == "UPDATE_COMPLETE"
    composite = aws.client("cloudwatch").describe_alarms(
        AlarmNames=[outputs(stack)["Both"]], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"][0]
    assert composite["AlarmRule"] == f'ALARM("{outputs(stack)["Math"]}")'
    aws.client("cloudwatch").put_metric_data(Namespace="N", MetricData=[{"MetricName": "M", "Value": 1.5}])
    eventually(lambda: aws.client("cloudwatch").describe_alarms(
        AlarmNames=[outputs(stack)["Math"]])["MetricAlarms"][0]["StateValue"] == "ALARM")


@pytest.mark.surface("AWS::S3::Bucket")
def test_a_bucket_with_all_the_usual_properties(aws: EmbeddedAws) -> None:
    stack = create(aws, {
        "Logs": {"Type": "AWS::S3::Bucket", "Properties": {"OwnershipControls": {
            "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}}},
        "Key": {"Type": "AWS::KMS::Key", "Properties": {"EnableKeyRotation": True, "KeyPolicy": _key_policy()}},
        "B": {"Type": "AWS::S3::Bucket", "Properties": {
            "VersioningConfiguration": {"Status": "Enabled"},
            "BucketEncryption": {"ServerSideEncryptionConfiguration": [{
                "BucketKeyEnabled": True, "ServerSideEncryptionByDefault": {
                    "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": {"Fn::GetAtt": ["Key", "Arn"]}}}]},
            "PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "BlockPublicPolicy": True,
                                               "IgnorePublicAcls": True, "RestrictPublicBuckets": True},
            "LifecycleConfiguration": {"Rules": [{"Id": "old", "Status": "Enabled", "ExpirationInDays": 30,
                "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}]},
            "LoggingConfiguration": {"DestinationBucketName": {"Ref": "Logs"}, "LogFilePrefix": "b/"},
            "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
            "IntelligentTieringConfigurations": [], "ObjectLockEnabled": False}},
    }, Outputs={"B": {"Value": {"Ref": "B"}}, "Logs": {"Value": {"Ref": "Logs"}}})
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons(aws, stack["StackName"])
    bucket, s3 = outputs(stack)["B"], aws.client("s3")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicPolicy"] is True
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["Expiration"] == {"Days": 30}
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]["TargetBucket"] == outputs(stack)["Logs"]
    came = aws.events_queue({"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}})
    s3.put_object(Bucket=bucket, Key="labels/a.jsonl", Body=b"{}")
    assert eventually(came)[0]["detail"]["object"]["key"] == "labels/a.jsonl"


def _key_policy() -> Template:
    return {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:root"}},
        "Action": "kms:*", "Resource": "*"}]}


@pytest.mark.surface("AWS::KMS::Key")
def test_a_signing_key_signs_what_verifies_offline(aws: EmbeddedAws) -> None:
    import hashlib

    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    stack = create(aws, {"Key": {"Type": "AWS::KMS::Key", "Properties": {
        "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY", "KeyPolicy": _key_policy()}}},
        Outputs={"Key": {"Value": {"Ref": "Key"}}})
    kms, key = aws.client("kms"), outputs(stack)["Key"]
    digest = hashlib.sha256(b"manifest").digest()
    signature = kms.sign(KeyId=key, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    public = serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    with pytest.raises(InvalidSignature):
        public.verify(signature, hashlib.sha256(b"other").digest(), ec.ECDSA(utils.Prehashed(hashes.SHA256())))


@pytest.mark.surface("AWS::IAM::Role: permission boundaries")
def test_a_permission_boundary_limits_a_role(aws: EmbeddedAws) -> None:
    boundary = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": "*"}]}
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {
        "AWS": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:root"}}}]}
    stack = create(aws, {
        "Limit": {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": boundary}},
        "Role": {"Type": "AWS::IAM::Role", "Properties": {
            "AssumeRolePolicyDocument": trust, "PermissionsBoundary": {"Ref": "Limit"},
            "Policies": [{"PolicyName": "all", "PolicyDocument": everything}]}},
    }, Outputs={"Role": {"Value": {"Fn::GetAtt": ["Role", "Arn"]}}})
    name = f"/{unique('flag')}"
    client = aws.as_role("ssm", outputs(stack)["Role"])
    with pytest.raises(ClientError, match="AccessDenied"):
        client.put_parameter(Name=name, Value="v", Type="String")
    aws.client("ssm").put_parameter(Name=name, Value="v", Type="String")
    assert client.get_parameter(Name=name)["Parameter"]["Value"] == "v"


@pytest.mark.surface("CloudFormation: rollback")
def test_a_failed_update_puts_back_what_it_changed(aws: EmbeddedAws) -> None:
    name = f"/{unique('p')}"
    stack = create(aws, {"P": parameter(name, "one")})
    broken = {"Type": "AWS::Logs::QueryDefinition", "DependsOn": "P", "Properties": {"Name": "q", "Colour": "red"}}
    failed = update(aws, stack["StackName"], {"P": parameter(name, "two"), "Z": broken})
    assert failed["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "one"


@pytest.mark.surface("AWS::ElastiCache::ReplicationGroup, ::User, ::UserGroup, ::SubnetGroup (declared, no node runs)")
@pytest.mark.surface("AWS::SecretsManager::Secret")
def test_a_cache_is_declared_with_its_user_and_a_generated_secret(aws: EmbeddedAws) -> None:
    name = unique("cache")
    stack = create(aws, {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
        "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24"}},
        "Subnets": {"Type": "AWS::ElastiCache::SubnetGroup", "Properties": {
            "Description": "d", "SubnetIds": [{"Ref": "Subnet"}]}},
        "User": {"Type": "AWS::ElastiCache::User", "Properties": {
            "Engine": "valkey", "UserId": name, "UserName": name, "AccessString": "on ~* -@all +get",
            "AuthenticationMode": {"Type": "iam"}}},
        "Users": {"Type": "AWS::ElastiCache::UserGroup", "Properties": {
            "Engine": "valkey", "UserGroupId": name, "UserIds": [{"Ref": "User"}]}},
        "Cache": {"Type": "AWS::ElastiCache::ReplicationGroup", "Properties": {
            "ReplicationGroupId": name, "ReplicationGroupDescription": "d", "Engine": "valkey", "NumCacheClusters": 2,
            "CacheNodeType": "cache.t4g.small", "AutomaticFailoverEnabled": True, "MultiAZEnabled": True,
            "CacheSubnetGroupName": {"Ref": "Subnets"}, "TransitEncryptionEnabled": True,
            "UserGroupIds": [{"Ref": "Users"}]}},
        "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {
            "GenerateSecretString": {"PasswordLength": 64}}},
    }, Outputs={"Host": {"Value": {"Fn::GetAtt": ["Cache", "PrimaryEndPoint.Address"]}},
                "Secret": {"Value": {"Ref": "Secret"}}})
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons(aws, stack["StackName"])
    assert outputs(stack)["Host"]
    group = aws.client("elasticache").describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]
    assert (group["UserGroupIds"], group["TransitEncryptionEnabled"], group["MultiAZ"]) == ([name], True, "enabled")
    secret = aws.client("secretsmanager").get_secret_value(SecretId=outputs(stack)["Secret"])["SecretString"]
    assert len(secret) == 64
