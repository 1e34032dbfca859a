"""AWS::EC2 types that ministack lacks: flow logs, single security group rules, network ACLs, DHCP options."""

from __future__ import annotations

from typing import Any

from local.stacks.by_api import ApiResource, Created, as_bool, client, present
from local.stacks.by_api import handlers as by_api

TAGGED = {"AWS::EC2::FlowLog": "Tags", "AWS::EC2::NetworkAcl": "Tags", "AWS::EC2::DHCPOptions": "Tags"}


def handlers() -> dict[str, dict[str, Any]]:
    return by_api(_RESOURCES)


def _tag_specifications(kind: str, props: dict[str, Any]) -> dict[str, Any]:
    tags = props.get("Tags")
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]} if tags else {}


def _flow_log_create(props: dict[str, Any], name: str) -> Created:
    settings = present(props, "TrafficType", "LogDestinationType", "LogDestination", "LogGroupName", "LogFormat",
                       "DeliverLogsPermissionArn", "MaxAggregationInterval", "ResourceType")
    if "MaxAggregationInterval" in settings:
        settings["MaxAggregationInterval"] = int(settings["MaxAggregationInterval"])
    answer = client("ec2").create_flow_logs(ResourceIds=[props["ResourceId"]], **settings,
                                            **_tag_specifications("vpc-flow-log", props))
    if answer.get("Unsuccessful"):
        raise ValueError(f"AWS::EC2::FlowLog: {answer['Unsuccessful'][0]['Error']['Message']}")
    flow_log = answer["FlowLogIds"][0]
    return flow_log, {"Id": flow_log}


def _flow_log_delete(physical_id: str, props: dict[str, Any]) -> None:
    client("ec2").delete_flow_logs(FlowLogIds=[physical_id])


def _permission(props: dict[str, Any], peer: str) -> dict[str, Any]:
    permission: dict[str, Any] = {"IpProtocol": str(props["IpProtocol"])}
    for port in ("FromPort", "ToPort"):
        if port in props:
            permission[port] = int(props[port])
    note = present(props, "Description")
    group = props.get(f"{peer}SecurityGroupId")
    prefix_list = props.get(f"{peer}PrefixListId")
    if "CidrIp" in props:
        permission["IpRanges"] = [{"CidrIp": props["CidrIp"], **note}]
    elif "CidrIpv6" in props:
        permission["Ipv6Ranges"] = [{"CidrIpv6": props["CidrIpv6"], **note}]
    elif group:
        permission["UserIdGroupPairs"] = [{"GroupId": group, **note}]
    elif prefix_list:
        permission["PrefixListIds"] = [{"PrefixListId": prefix_list, **note}]
    else:
        raise ValueError(f"a security group rule needs CidrIp, CidrIpv6, {peer}SecurityGroupId or {peer}PrefixListId")
    return permission


def _rule(direction: str, peer: str) -> ApiResource:
    def create(props: dict[str, Any], name: str) -> Created:
        call = getattr(client("ec2"), f"authorize_security_group_{direction}")
        call(GroupId=props["GroupId"], IpPermissions=[_permission(props, peer)])
        return name, {"Id": name}

    def delete(physical_id: str, props: dict[str, Any]) -> None:
        call = getattr(client("ec2"), f"revoke_security_group_{direction}")
        call(GroupId=props["GroupId"], IpPermissions=[_permission(props, peer)])

    return ApiResource(create=create, delete=delete, properties=frozenset({
        "GroupId", "IpProtocol", "FromPort", "ToPort", "CidrIp", "CidrIpv6", "Description",
        f"{peer}SecurityGroupId", f"{peer}PrefixListId", "SourceSecurityGroupOwnerId"}))


def _acl_create(props: dict[str, Any], name: str) -> Created:
    answer = client("ec2").create_network_acl(VpcId=props["VpcId"], **_tag_specifications("network-acl", props))
    acl = answer["NetworkAcl"]["NetworkAclId"]
    return acl, {"Id": acl}


def _acl_delete(physical_id: str, props: dict[str, Any]) -> None:
    client("ec2").delete_network_acl(NetworkAclId=physical_id)


def _entry(props: dict[str, Any]) -> dict[str, Any]:
    entry = {"NetworkAclId": props["NetworkAclId"], "RuleNumber": int(props["RuleNumber"]),
             "Egress": as_bool(props.get("Egress", False)), "Protocol": str(props["Protocol"]),
             "RuleAction": props["RuleAction"], **present(props, "CidrBlock", "Ipv6CidrBlock")}
    if "PortRange" in props:
        entry["PortRange"] = {k: int(v) for k, v in props["PortRange"].items()}
    return entry


def _entry_create(props: dict[str, Any], name: str) -> Created:
    client("ec2").create_network_acl_entry(**_entry(props))
    return name, {"Id": name}


def _entry_update(physical_id: str, old: dict[str, Any], new: dict[str, Any]) -> Created:
    client("ec2").replace_network_acl_entry(**_entry(new))
    return physical_id, {"Id": physical_id}


def _entry_delete(physical_id: str, props: dict[str, Any]) -> None:
    client("ec2").delete_network_acl_entry(NetworkAclId=props["NetworkAclId"], RuleNumber=int(props["RuleNumber"]),
                                           Egress=as_bool(props.get("Egress", False)))


def _association_create(props: dict[str, Any], name: str) -> Created:
    """The subnet's present association moves over, as on AWS."""
    acls = client("ec2").describe_network_acls(
        Filters=[{"Name": "association.subnet-id", "Values": [props["SubnetId"]]}])["NetworkAcls"]
    found = [a["NetworkAclAssociationId"] for acl in acls for a in acl["Associations"]
             if a["SubnetId"] == props["SubnetId"]]
    if not found:
        return name, {"AssociationId": name}
    answer = client("ec2").replace_network_acl_association(AssociationId=found[0], NetworkAclId=props["NetworkAclId"])
    return answer["NewAssociationId"], {"AssociationId": answer["NewAssociationId"]}


def _dhcp_create(props: dict[str, Any], name: str) -> Created:
    spelling = {"DomainName": "domain-name", "DomainNameServers": "domain-name-servers", "NtpServers": "ntp-servers"}
    options = [{"Key": key, "Values": props[prop] if isinstance(props[prop], list) else [props[prop]]}
               for prop, key in spelling.items() if prop in props]
    answer = client("ec2").create_dhcp_options(DhcpConfigurations=options)
    dhcp = answer["DhcpOptions"]["DhcpOptionsId"]
    return dhcp, {"DhcpOptionsId": dhcp}


def _dhcp_associate(props: dict[str, Any], name: str) -> Created:
    client("ec2").associate_dhcp_options(DhcpOptionsId=props["DhcpOptionsId"], VpcId=props["VpcId"])
    return name, {}


_RESOURCES = {
    "AWS::EC2::FlowLog": ApiResource(
        create=_flow_log_create, delete=_flow_log_delete,
        properties=frozenset({"ResourceId", "ResourceType", "TrafficType", "LogDestinationType", "LogDestination",
                              "LogGroupName", "LogFormat", "DeliverLogsPermissionArn", "MaxAggregationInterval",
                              "DestinationOptions", "Tags"})),
    "AWS::EC2::SecurityGroupIngress": _rule("ingress", "Source"),
    "AWS::EC2::SecurityGroupEgress": _rule("egress", "Destination"),
    "AWS::EC2::NetworkAcl": ApiResource(create=_acl_create, delete=_acl_delete,
                                        properties=frozenset({"VpcId", "Tags"})),
    "AWS::EC2::NetworkAclEntry": ApiResource(
        create=_entry_create, update=_entry_update, delete=_entry_delete,
        properties=frozenset({"NetworkAclId", "RuleNumber", "Egress", "Protocol", "RuleAction", "CidrBlock",
                              "Ipv6CidrBlock", "PortRange", "Icmp"})),
    "AWS::EC2::SubnetNetworkAclAssociation": ApiResource(
        create=_association_create, delete=lambda physical_id, props: None,
        properties=frozenset({"SubnetId", "NetworkAclId"})),
    "AWS::EC2::DHCPOptions": ApiResource(
        create=_dhcp_create, delete=lambda physical_id, props: client("ec2").delete_dhcp_options(
            DhcpOptionsId=physical_id),
        properties=frozenset({"DomainName", "DomainNameServers", "NtpServers", "Tags"})),
    "AWS::EC2::VPCDHCPOptionsAssociation": ApiResource(
        create=_dhcp_associate, delete=lambda physical_id, props: None,
        properties=frozenset({"DhcpOptionsId", "VpcId"})),
}
