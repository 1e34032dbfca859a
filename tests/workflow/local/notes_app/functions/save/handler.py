import json
import os

import boto3


class EmptyNote(Exception):
    pass


class Busy(Exception):
    pass


def handler(event, context):
    if not event.get("text"):
        raise EmptyNote("a note without text")
    table = boto3.client("dynamodb")
    if event["text"] == "busy":
        seen = table.update_item(TableName=os.environ["TABLE"], Key={"note": {"S": "attempts"}},
                                 UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": {"N": "1"}},
                                 ReturnValues="ALL_NEW")["Attributes"]["n"]["N"]
        if int(seen) < 3:
            raise Busy(f"attempt {seen}")
    table.put_item(TableName=os.environ["TABLE"], Item={"note": {"S": event["note"]}, "text": {"S": event["text"]}})
    boto3.client("s3").put_object(Bucket=os.environ["BUCKET"], Key=event.get("key", f"notes/{event['note']}.json"),
                                  Body=json.dumps(event).encode())
    print(json.dumps({"saved": event["note"], "request": context.aws_request_id}))
    return {"note": event["note"], "characters": len(event["text"])}
