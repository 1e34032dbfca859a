"""The answer cache of the inference fabric: ElastiCache for Valkey, reached from inside the VPC only.

A caller needs three things: the `clients` security group, a role with `elasticache:Connect` on group and user, and
read access to the parameter that says where the cache is and which secret its keys are hashed with.
"""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from contracts import inference_cache as contract
from contracts import naming
from mlplatform.network import CIDR, Network
from mlplatform.policies import arn_of

NODE_TYPE = "cache.t4g.small"  # 1.4 GB: about two million answers
NODES = 2  # one per zone: a lost zone is a fail-over of seconds, not an empty cache
SECRET_CHARACTERS = 64


class InferenceCache(Construct):
    """Cluster mode stays off: an answer and the story's epoch are read in one round trip from one node."""

    def __init__(self, scope: Construct, id_: str, *, deployment: str, network: Network, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        name = naming.inference_cache(deployment)
        self.clients = self._group("Clients", network, "Processes that ask models through the inference fabric")
        nodes = self._group("Nodes", network, "Nodes of the inference cache: from its clients, to nobody")
        port = ec2.Port.tcp(contract.PORT)
        # By address range: a rule to the other group would be a resource of its own, and a group without an inline
        # rule may send anywhere.
        self.clients.add_egress_rule(ec2.Peer.ipv4(CIDR), port, "to the inference cache")
        nodes.add_ingress_rule(self.clients, port, "from clients of the inference cache")
        subnets = elasticache.CfnSubnetGroup(self, "Subnets", cache_subnet_group_name=name, description=name,
                                             subnet_ids=network.subnet_ids)
        user = elasticache.CfnUser(
            self, "User", engine=contract.ENGINE, user_id=name, user_name=name,  # IAM wants the two to be equal
            access_string=contract.ACCESS, authentication_mode={"Type": "iam"})
        users = elasticache.CfnUserGroup(self, "Users", engine=contract.ENGINE, user_group_id=name,
                                         user_ids=[user.ref])
        self.group = elasticache.CfnReplicationGroup(
            self, "Default", replication_group_id=name, replication_group_description="Answers of promoted models",
            engine=contract.ENGINE, engine_version=contract.ENGINE_VERSION, cache_node_type=NODE_TYPE,
            num_cache_clusters=NODES, automatic_failover_enabled=True, multi_az_enabled=True, port=contract.PORT,
            cache_subnet_group_name=subnets.ref, security_group_ids=[nodes.security_group_id],
            at_rest_encryption_enabled=True, kms_key_id=arn_of(key), transit_encryption_enabled=True,
            transit_encryption_mode="required", user_group_ids=[users.ref], auto_minor_version_upgrade=True)
        secret = secretsmanager.CfnSecret(
            self, "KeySecret", description="Inference cache: keys are hashed and values sealed with it",
            kms_key_id=arn_of(key), generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
                password_length=SECRET_CHARACTERS))
        address = contract.CacheAddress(host=self.group.attr_primary_end_point_address, name=name, user=name,
                                        secret_arn=secret.ref)
        ssm.CfnParameter(self, "Address", name=naming.INFERENCE_CACHE_PARAMETER, type="String",
                         value=address.to_json())

    def _group(self, id_: str, network: Network, description: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(self, id_, vpc=network.vpc, allow_all_outbound=False, disable_inline_rules=False,
                                 description=description)
