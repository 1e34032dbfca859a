"""A small notes service: unlike anything else in this repository, so that the embedded AWS proves itself on it.

Context `variant=second` changes a threshold, the definition's comment and a tag, for the update tests.
"""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cw
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks

FUNCTIONS = Path(__file__).parent / "functions"


class NotesStack(cdk.Stack):
    def __init__(self, scope: cdk.App, id_: str, *, second: bool, **options) -> None:
        super().__init__(scope, id_, **options)
        self.key = kms.Key(self, "Key", enable_key_rotation=True)
        self.bucket = s3.Bucket(self, "Notes", encryption_key=self.key, versioned=True, enforce_ssl=True,
                                block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
                                lifecycle_rules=[s3.LifecycleRule(expiration=cdk.Duration.days(30))])
        self.table = dynamodb.TableV2(self, "Index", partition_key=dynamodb.Attribute(
            name="note", type=dynamodb.AttributeType.STRING), removal_policy=cdk.RemovalPolicy.RETAIN)
        self.switch = ssm.CfnParameter(self, "Switch", type="String", value="on", name="/notes/switch",
                                       allowed_pattern="^(on|off)$")
        self.topic = sns.Topic(self, "Pager")
        self.inbox = sqs.Queue(self, "Inbox", queue_name="notes-inbox")
        self.save, self.digest = self._functions()
        self.machine = self._machine(second)
        self._alarm(second)
        self._starts()
        cdk.CfnOutput(self, "MachineArn", value=self.machine.state_machine_arn)
        cdk.CfnOutput(self, "BucketName", value=self.bucket.bucket_name)
        cdk.CfnOutput(self, "TableName", value=self.table.table_name, export_name="notes-table")
        cdk.CfnOutput(self, "SaveName", value=self.save.function_name)

    def _functions(self) -> tuple[lambda_.Function, lambda_.Function]:
        def function(name: str, **environment: str) -> lambda_.Function:
            return lambda_.Function(self, name.capitalize(), runtime=lambda_.Runtime.PYTHON_3_13,
                                    handler="handler.handler", timeout=cdk.Duration.seconds(5),
                                    code=lambda_.Code.from_asset(str(FUNCTIONS / name)), environment=environment)

        save = function("save", TABLE=self.table.table_name, BUCKET=self.bucket.bucket_name)
        digest = function("digest", SWITCH="/notes/switch")
        self.table.grant_write_data(save)
        self.bucket.grant_put(save, "notes/*")
        digest.add_to_role_policy(iam.PolicyStatement(actions=["ssm:GetParameter"], resources=[
            self.format_arn(service="ssm", resource="parameter", resource_name="notes/switch")]))
        return save, digest

    def _machine(self, second: bool) -> sfn.StateMachine:
        save = tasks.LambdaInvoke(self, "SaveNote", lambda_function=self.save, result_path="$.saved",
                                  payload_response_only=True)
        save.add_retry(errors=["Busy"], interval=cdk.Duration.seconds(30), max_attempts=2)
        refused = sfn.Pass(self, "Refused", parameters={"refused.$": "$.error.Error"})
        save.add_catch(refused, errors=["EmptyNote"], result_path="$.error")
        read = tasks.CallAwsService(self, "ReadSwitch", service="ssm", action="getParameter",
                                    parameters={"Name": "/notes/switch"}, result_path="$.switch",
                                    iam_resources=[self.format_arn(service="ssm", resource="parameter",
                                                                   resource_name="notes/switch")])
        tell = tasks.SnsPublish(self, "Tell", topic=self.topic, result_path=sfn.JsonPath.DISCARD,
                                message=sfn.TaskInput.from_json_path_at("$.text"))
        wait = sfn.Wait(self, "CoolDown", time=sfn.WaitTime.duration(cdk.Duration.seconds(60)))
        chain = save.next(wait).next(read).next(tell).next(sfn.Succeed(self, "Saved"))
        return sfn.StateMachine(self, "Machine", definition_body=sfn.DefinitionBody.from_chainable(chain),
                                comment="second" if second else "first", timeout=cdk.Duration.minutes(5))

    def _alarm(self, second: bool) -> None:
        metric = cw.Metric(namespace="Notes", metric_name="Lost", statistic="Sum", period=cdk.Duration.minutes(1),
                           dimensions_map={"Shelf": "main"})
        alarm = cw.Alarm(self, "LostNotes", metric=metric, threshold=5 if second else 3, evaluation_periods=1,
                         treat_missing_data=cw.TreatMissingData.NOT_BREACHING, alarm_name="notes-lost")
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        events.Rule(self, "OnLost", event_pattern=events.EventPattern(
            source=["aws.cloudwatch"], detail_type=["CloudWatch Alarm State Change"],
            detail={"alarmName": ["notes-lost"], "state": {"value": ["ALARM"]}}),
            targets=[targets.SfnStateMachine(self.machine, input=events.RuleTargetInput.from_object(
                {"note": "from-alarm", "text": events.EventField.from_path("$.detail.alarmName")}))])

    def _starts(self) -> None:
        events.Rule(self, "OnSwitch", event_pattern=events.EventPattern(
            source=["aws.ssm"], detail_type=["Parameter Store Change"], detail={"name": ["/notes/switch"]}),
            targets=[targets.SqsQueue(self.inbox), targets.LambdaFunction(self.digest)])
        scheduler.Schedule(self, "Weekly", schedule_name="notes-weekly",
                           schedule=scheduler.ScheduleExpression.cron(
                               minute="0", hour="3", week_day="FRI", time_zone=cdk.TimeZone.ASIA_TOKYO),
                           target=scheduler_targets.StepFunctionsStartExecution(
                               self.machine, input=scheduler.ScheduleTargetInput.from_object(
                                   {"note": "weekly", "text": "weekly"})))


app = cdk.App(analytics_reporting=False)
second = app.node.try_get_context("variant") == "second"
stack = NotesStack(app, "Notes", second=second, env=cdk.Environment(region="eu-west-1"),
                   synthesizer=cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False))
if second:
    # without aws:cdk:stack it would be a stack tag too, and CloudFormation passes those on to every resource
    cdk.Tags.of(stack).add("colour", "green", exclude_resource_types=["AWS::SSM::Parameter", "aws:cdk:stack"])
app.synth()
