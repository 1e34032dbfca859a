"""A network with no way out: two isolated zones, gateway endpoints, no NAT.

Jobs that call no API need only the S3 gateway: SageMaker pulls images and ships logs itself.
Interface endpoints cost about 300 USD a month for three regions, so they come only with
`full_private`; without it the two label jobs, which call Glue, run outside the VPC.
"""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms

from constructs import Construct
from mlplatform.policies import allow, arn_of, service_role
from mlplatform.retention import log_group

FULL_PRIVATE_CONTEXT = "full_private"
CIDR = "10.40.0.0/16"


def _interfaces() -> dict[str, ec2.InterfaceVpcEndpointAwsService]:
    """A function, because the first look at one makes CDK's Node process build all three hundred."""
    aws = ec2.InterfaceVpcEndpointAwsService
    return {"Glue": aws.GLUE, "Sts": aws.STS, "Kms": aws.KMS, "Logs": aws.CLOUDWATCH_LOGS,
            "Monitoring": aws.CLOUDWATCH_MONITORING, "SageMaker": aws.SAGEMAKER_API}


class Network(Construct):
    """`subnet_ids` and `security_group_id` for jobs and endpoints; `api_jobs_inside` says where label jobs run."""

    def __init__(self, scope: Construct, id_: str, *, name: str, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self.api_jobs_inside = str(self.node.try_get_context(FULL_PRIVATE_CONTEXT) or "false").lower() == "true"
        self.vpc = ec2.Vpc(
            self, "Vpc", vpc_name=name, ip_addresses=ec2.IpAddresses.cidr(CIDR), max_azs=2, nat_gateways=0,
            subnet_configuration=[ec2.SubnetConfiguration(
                name="Isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=20)],
            # CDK would add a Node function of its own for this; our group below is the only one in use.
            restrict_default_security_group=False,
        )
        for gateway, service in (("S3", ec2.GatewayVpcEndpointAwsService.S3),
                                 ("DynamoDb", ec2.GatewayVpcEndpointAwsService.DYNAMODB)):
            self.vpc.add_gateway_endpoint(gateway, service=service)
        self.jobs = ec2.SecurityGroup(
            self, "Jobs", vpc=self.vpc, allow_all_outbound=False, disable_inline_rules=False,
            description="SageMaker jobs and endpoints: HTTPS to the VPC endpoints, nothing else",
        )
        # The route tables lead to the gateway endpoints only, so "anywhere" ends there.
        self.jobs.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "HTTPS to the gateway endpoints")
        if self.api_jobs_inside:
            for endpoint, interface in _interfaces().items():
                self.vpc.add_interface_endpoint(endpoint, service=interface)
        self._flow_log(key)
        self.subnet_ids: list[str] = [subnet.subnet_id for subnet in self.vpc.isolated_subnets]
        self.security_group_ids: list[str] = [self.jobs.security_group_id]

    def _flow_log(self, key: kms.IKey) -> None:
        group = log_group(self, "FlowLogs", key_arn=arn_of(key))
        role = service_role(
            self, "FlowLogRole", service="vpc-flow-logs.amazonaws.com", description="Writes the VPC's flow log",
            statements=[allow("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams",
                              on=group.attr_arn)],
        )
        ec2.CfnFlowLog(self, "FlowLog", resource_id=self.vpc.vpc_id, resource_type="VPC", traffic_type="ALL",
                       log_group_name=group.ref, deliver_logs_permission_arn=role.role_arn)

    @property
    def vpc_config(self) -> dict[str, list[str]]:
        """SageMaker's VpcConfig."""
        return {"SecurityGroupIds": self.security_group_ids, "Subnets": self.subnet_ids}


