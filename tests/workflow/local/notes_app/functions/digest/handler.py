import os

import boto3


def handler(event, context):
    value = boto3.client("ssm").get_parameter(Name=os.environ["SWITCH"])["Parameter"]["Value"]
    print("switch is", value)
    return {"switch": value, "event": event}
