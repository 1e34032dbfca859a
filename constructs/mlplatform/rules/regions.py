"""Residency, in one sentence: a template knows no region but its own, and no bucket of another deployment.

A look at the whole text first: where it names nothing foreign, which is always, no property is walked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from contracts import naming
from contracts.deployments import DEPLOYMENTS
from mlplatform.rules.rule import Finding, rule
from mlplatform.rules.signed_copies import is_signed_copy_pull
from mlplatform.rules.templates import Deployed, Resource, strings

RESIDENCY = "residency: JP customer data in ap-northeast-1, each region's in its own"
_REGION = re.compile(r"(?<![a-z0-9])(?:us|eu|ap|sa|ca|me|af|il|mx|cn)(?:-gov)?-"
                     r"(?:north|south|east|west|central|northeast|northwest|southeast|southwest)-[1-9](?![0-9])")
_BUCKET = re.compile(rf"{naming.PROJECT}-(?:{'|'.join(naming.BUCKETS)})-({'|'.join(d.name for d in DEPLOYMENTS)})-")
DASHBOARD = "AWS::CloudWatch::Dashboard"


def _foreign(deployed: Deployed, pattern: re.Pattern[str], own: str, *,
             group: int) -> Iterator[tuple[Resource, str, str]]:
    """(resource, property, name) of each text that the pattern finds and that is not `own`."""
    for stack in deployed.stacks:
        if {m.group(group) for m in pattern.finditer(stack.raw)} <= {own}:
            continue
        for resource in stack.resources.values():
            found = {(where.split(".Fn::")[0], m.group(group))
                     for where, text in strings(resource.properties, "Properties") for m in pattern.finditer(text)}
            for where, name in sorted(found):
                if name != own and not is_signed_copy_pull(deployed.deployment, resource, where):
                    yield resource, where, name


@rule("ResidencyOwnRegion", concern=RESIDENCY,
      why="what a deployment sends to, grants to or reads from another region takes customer data with it",
      mend="name the target by a construct of this deployment or by AWS::Region; only signed model copies cross "
           "regions, and only by the receiving side's pull")
def own_region(deployed: Deployed) -> Iterator[Finding]:
    """Topics, queues, streams, buses, keys and grants elsewhere all name their region in an ARN or a URL."""
    own = deployed.deployment.region
    for resource, where, region in _foreign(deployed, _REGION, own, group=0):
        if resource.type != DASHBOARD:
            yield Finding(on=resource, where=where, what=f"names {region}, but the deployment lives in {own}")


@rule("ResidencyBucketOneRegion", concern=RESIDENCY,
      why="a bucket that two regions write to or read from holds the customers of both",
      mend="use the deployment's own bucket, named by naming.bucket(PURPOSE, DEPLOYMENT, ACCOUNT)")
def bucket_one_region(deployed: Deployed) -> Iterator[Finding]:
    own = deployed.deployment.name
    for resource, where, other in _foreign(deployed, _BUCKET, own, group=1):
        yield Finding(on=resource, where=where, what=f"names a bucket of {other}, but this deployment is {own}")
    for bucket in deployed.of_type("AWS::S3::Bucket"):
        name = bucket.text("BucketName")
        if name and not _BUCKET.match(name):
            yield Finding(on=bucket, where="Properties.BucketName", what=f"{name!r} does not say whose it is, so a "
                          f"second deployment could use it: {naming.PROJECT}-PURPOSE-{own}-ACCOUNT does")


@rule("ResidencyDashboard", concern=RESIDENCY,
      why="a widget of another region shows its numbers, and makes people look for its customers here",
      mend="leave each widget in Stack.of(self).region; one dashboard per deployment")
def dashboards(deployed: Deployed) -> Iterator[Finding]:
    own = deployed.deployment.region
    for dashboard in deployed.of_type(DASHBOARD):
        for i, widget in enumerate(dashboard.document.get("widgets", [])):
            for _, text in strings(widget, ""):
                for region in {m.group() for m in _REGION.finditer(text)} - {own}:
                    title = widget.get("properties", {}).get("title", widget.get("type"))
                    yield Finding(on=dashboard, where=f"Properties.DashboardBody.widgets.{i}",
                                  what=f"the widget {title!r} shows {region}, but the deployment lives in {own}")
