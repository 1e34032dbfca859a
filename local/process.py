"""The server process: ministack with our hooks, served on 127.0.0.1.

ministack reads its settings from the environment when it is imported, so the environment is set first and
every import of it in this package is inside a function.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import signal
import sys

from local.config import ROOT_KEY, LocalConfig

_HOOKED_VERSIONS = {"ministack": "1.5.33", "moto": "5.2.5"}  # the hooks replace private functions of exactly these
_LOG = logging.getLogger("local")


def main(config_json: str) -> None:
    config = LocalConfig.from_json(config_json)
    _check_versions()
    _set_environment(config)
    application = build(config)
    asyncio.run(_serve(application, config))


def build(config: LocalConfig):  # type: ignore[no-untyped-def]
    """The ASGI application with every hook in place."""
    from ministack import app as ministack_app

    from local import call_record, emr_serverless, front, functions, gateway, registry, resources, sagemaker
    from local.events import alarms, parameters, schedules, targets
    from local.stacks import hooks as stacks
    from local.states import engine

    for module in (call_record, resources, registry, functions, gateway, engine, stacks, alarms, parameters, targets,
                   schedules):
        module.install(config)
    sagemaker.register(config)
    emr_serverless.register(config)
    return front.install(config, ministack_app)


def _check_versions() -> None:
    for package, wanted in _HOOKED_VERSIONS.items():
        found = importlib.metadata.version(package)
        if found != wanted:
            raise SystemExit(f"the embedded AWS hooks into {package} {wanted}, but {found} is installed: "
                             f"pip install {package}=={wanted}")


def _set_environment(config: LocalConfig) -> None:
    os.environ.update(
        AUTH="true",
        AWS_ACCESS_KEY_ID=ROOT_KEY,
        AWS_SECRET_ACCESS_KEY=ROOT_KEY,
        AWS_DEFAULT_REGION=config.region,
        AWS_EC2_METADATA_DISABLED="true",
        AWS_ENDPOINT_URL=config.endpoint_url,
        BIND_HOST="127.0.0.1",
        GATEWAY_PORT=str(config.port),
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        LOG_LEVEL=os.environ.get("LOCAL_LOG_LEVEL", "WARNING"),
        MINISTACK_ACCOUNT_ID=config.account,
        MINISTACK_REGION=config.region,
        MINISTACK_WORKER_THREADS="16",
        S3_DATA_DIR=str(config.data_dir / "s3"),
        S3_PERSIST="1",
        DOCKER_HOST="unix:///nonexistent",  # never talk to a Docker engine, even where one runs
    )


async def _serve(application, config: LocalConfig) -> None:  # type: ignore[no-untyped-def]
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    settings = Config()
    settings.bind = [f"127.0.0.1:{config.port}"]
    settings.keep_alive_timeout = 75
    settings.loglevel = "WARNING"
    settings.graceful_timeout = 1
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopping.set)
    await serve(application, settings, shutdown_trigger=stopping.wait)


if __name__ == "__main__":
    main(sys.argv[1])
