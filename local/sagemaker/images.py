"""Container images without Docker: the files and the configuration that a Dockerfile describes.

RUN is written to the build log and not executed: a container later runs with the host's Python and packages.
An image lies in `<data-dir>/images/<repository>/<digest>/` as `rootfs/` and `image.json`; its digest covers
every file and the configuration, so the same source gives the same digest.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from local.sagemaker import dockerfile, state
from local.sagemaker.dockerfile import Instruction
from local.sagemaker.errors import JobFailure

_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/"
    r"(?P<repo>[a-z0-9._/-]+?)(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$"
)
_CHMOD = re.compile(r"\bchmod\s+(?:[ua]*\+x|0?[57]\d\d)\s+([^&|;]+)")
BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(kw_only=True)
class ImageConfig:
    """What an image says about how it runs."""

    base: str = ""
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)
    user: str = ""
    run: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Image:
    config: ImageConfig
    rootfs: Path
    digest: str
    manifest: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageRef:
    account: str
    region: str
    repo: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, uri: str) -> ImageRef:
        match = _URI.match(uri)
        if not match:
            raise JobFailure(
                f"image {uri!r} is not in the private ECR registry; the embedded SageMaker runs images of the form "
                "<account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag> that the embedded CodeBuild has built"
            )
        parts = match.groupdict(default="")
        return cls(**{**parts, "tag": parts["tag"] or ("" if parts["digest"] else "latest")})

    def image_id(self) -> dict[str, str]:
        return {"imageDigest": self.digest} if self.digest else {"imageTag": self.tag}


def image_folder(repo: str, digest: str) -> Path:
    return state.config().data_dir / "images" / repo / digest.removeprefix("sha256:")


def load(repo: str, digest: str) -> Image | None:
    folder = image_folder(repo, digest)
    if not (folder / "image.json").is_file():
        return None
    saved = json.loads((folder / "image.json").read_text())
    return Image(config=ImageConfig(**saved), rootfs=folder / "rootfs", digest=digest)


@dataclass(kw_only=True)
class _Stage:
    name: str
    root: Path
    config: ImageConfig
    variables: dict[str, str]


class Build:
    """One build. `base_image` finds images of our own registry for FROM; others are external and contribute nothing."""

    def __init__(
        self, *, context: Path, build_args: Mapping[str, str], work: Path,
        base_image: Callable[[str], Image | None], log: Callable[[str], None],
    ) -> None:
        self.context, self.build_args, self.work = context, dict(build_args), work
        self.base_image, self.log = base_image, log
        self.stages: list[_Stage] = []
        self.global_args: dict[str, str] = {}
        self.ignored = _ignore_rules(context / ".dockerignore")

    def run(self, instructions: list[Instruction], target: str) -> Image:
        """Build the stage `target`, or the last one."""
        total = len(instructions)
        for number, instruction in enumerate(instructions, 1):
            if instruction.name == "FROM" and target and self.stages and self.stages[-1].name == target:
                break
            self.log(f"Step {number}/{total} : {instruction.name} {instruction.text}")
            if not self.stages and instruction.name not in ("FROM", "ARG"):
                raise JobFailure(f"Dockerfile line {instruction.line}: {instruction.name} comes before FROM")
            getattr(self, f"_{instruction.name.lower()}")(instruction)
        if target and self.stages[-1].name != target:
            names = ", ".join(s.name for s in self.stages)
            raise JobFailure(f"build target {target!r} is not in the Dockerfile; its stages are {names}")
        stage = self.stages[-1]
        return _seal(stage.config, stage.root)

    def _expand(self, instruction: Instruction) -> Instruction:
        text = dockerfile.substitute(instruction.text, self.stages[-1].variables)
        return Instruction(line=instruction.line, name=instruction.name, text=text)

    def _from(self, instruction: Instruction) -> None:
        text = dockerfile.substitute(instruction.text, self.global_args)
        words = [w for w in text.split() if not w.startswith("--platform")]
        reference, name = words[0], words[2] if len(words) == 3 else str(len(self.stages))
        root = self.work / f"stage{len(self.stages)}"
        root.mkdir(parents=True)
        earlier = next((s for s in self.stages if s.name == reference), None)
        found = (
            Image(config=earlier.config, rootfs=earlier.root, digest="")
            if earlier
            else self.base_image(reference)
        )
        config = ImageConfig(base=reference, env={"PATH": BASE_PATH})
        if found:
            shutil.copytree(found.rootfs, root, dirs_exist_ok=True)
            config = ImageConfig(**json.loads(json.dumps(asdict(found.config))))
        else:
            self.log(f" ---> {reference} is external: its files are replaced by the host's Python and packages")
        self.stages.append(_Stage(name=name, root=root, config=config, variables=dict(config.env)))

    def _arg(self, instruction: Instruction) -> None:
        variables = self.stages[-1].variables if self.stages else self.global_args
        for word in dockerfile.Instruction.words(instruction):
            name, has_default, default = word.partition("=")
            fallback = dockerfile.substitute(default, variables) if has_default else self.global_args.get(name)
            given = self.build_args.get(name, fallback)
            if given is not None:
                variables[name] = given

    def _env(self, instruction: Instruction) -> None:
        stage = self.stages[-1]
        values = dockerfile.pairs(self._expand(instruction))
        stage.config.env.update(values)
        stage.variables.update(values)

    def _label(self, instruction: Instruction) -> None:
        self.stages[-1].config.labels.update(dockerfile.pairs(self._expand(instruction)))

    def _workdir(self, instruction: Instruction) -> None:
        stage = self.stages[-1]
        stage.config.workdir = str(PurePosixPath(stage.config.workdir) / self._expand(instruction).text)
        _inside(stage.root, stage.config.workdir).mkdir(parents=True, exist_ok=True)

    def _entrypoint(self, instruction: Instruction) -> None:
        self.stages[-1].config.entrypoint = instruction.command()
        self.stages[-1].config.cmd = []  # an ENTRYPOINT resets what the base image's CMD was

    def _cmd(self, instruction: Instruction) -> None:
        self.stages[-1].config.cmd = instruction.command()

    def _expose(self, instruction: Instruction) -> None:
        self.stages[-1].config.ports += self._expand(instruction).text.split()

    def _user(self, instruction: Instruction) -> None:
        self.stages[-1].config.user = self._expand(instruction).text

    def _run(self, instruction: Instruction) -> None:
        self.stages[-1].config.run.append(instruction.text)
        self.log(" ---> recorded, not executed: packages come from the host's Python")
        for paths in _CHMOD.findall(instruction.text):  # the one effect that a start depends on
            for word in paths.split():
                place = str(PurePosixPath(self.stages[-1].config.workdir) / word)
                for file in self.stages[-1].root.glob(place.lstrip("/")):
                    file.chmod(file.stat().st_mode | 0o111)

    def _copy(self, instruction: Instruction) -> None:
        stage = self.stages[-1]
        words = self._expand(instruction).words()
        options = dict(w[2:].partition("=")[::2] for w in words if w.startswith("--"))
        unknown = set(options) - {"from", "chown", "chmod", "link"}
        if unknown:
            raise JobFailure(f"Dockerfile line {instruction.line}: COPY --{unknown.pop()} is not supported")
        *sources, target = [w for w in words if not w.startswith("--")]
        root = self._copy_root(options.get("from", ""), instruction)
        place = PurePosixPath(stage.config.workdir) / target
        folder = target.endswith("/") or target == "." or len(sources) > 1
        for source in sources:
            matches = sorted(root.glob(source.strip("/"))) if source.strip("./") else [root]
            if not matches:
                raise JobFailure(
                    f"Dockerfile line {instruction.line}: COPY failed: {source!r} is not in the build context"
                    + (" (what RUN would have made does not exist here)" if "from" in options else "")
                )
            for match in matches:
                destination = _inside(stage.root, str(place))
                into = destination / match.name if match.is_file() and (folder or destination.is_dir()) else destination
                self._place(match, into, root, bool(options.get("from")))

    def _copy_root(self, source: str, instruction: Instruction) -> Path:
        if not source:
            return self.context
        for index, stage in enumerate(self.stages):
            if source in (stage.name, str(index)):
                return stage.root
        found = self.base_image(source)
        if found is None:
            raise JobFailure(f"Dockerfile line {instruction.line}: COPY --from={source}: no such stage or image")
        return found.rootfs

    def _place(self, source: Path, into: Path, root: Path, from_stage: bool) -> None:
        files = [source] if source.is_file() else [p for p in sorted(source.rglob("*")) if p.is_file()]
        for file in files:
            relative = file.relative_to(root).as_posix()
            if not from_stage and self.ignored(relative):
                continue
            to = into if source.is_file() else into / file.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, to)


def _inside(root: Path, posix: str) -> Path:
    """The place of a container path below `root`; never outside of it."""
    path = (root / posix.lstrip("/")).resolve()
    if not path.is_relative_to(root.resolve()):
        raise JobFailure(f"path {posix!r} leaves the image")
    return path


def _ignore_rules(file: Path) -> Callable[[str], bool]:
    rules = [r.strip() for r in file.read_text().splitlines()] if file.is_file() else []
    rules = [r for r in rules if r and not r.startswith("#")]

    def ignored(relative: str) -> bool:
        verdict = False
        for rule in rules:
            pattern = rule.lstrip("!").strip("/").removeprefix("**/")
            parts = relative.split("/")
            prefixes = ["/".join(parts[: i + 1]) for i in range(len(parts))]
            deep = parts if rule.lstrip("!").startswith("**/") else []
            if any(fnmatch.fnmatchcase(p, pattern) for p in [*prefixes, *deep]):
                verdict = not rule.startswith("!")
        return verdict

    return ignored


def _seal(config: ImageConfig, root: Path) -> Image:
    """Name the tree by its content. Build times and owners do not count."""
    tree, size = hashlib.sha256(), 0
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        executable = "x" if path.stat().st_mode & 0o100 else "-"
        tree.update(f"{path.relative_to(root).as_posix()}\0{executable}\0{content}\n".encode())
        size += path.stat().st_size
    described = json.dumps(asdict(config), sort_keys=True)
    kind = "application/vnd.docker"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.distribution.manifest.v2+json",
            "config": {
                "mediaType": f"{kind}.container.image.v1+json",
                "size": len(described),
                "digest": f"sha256:{hashlib.sha256(described.encode()).hexdigest()}",
            },
            "layers": [
                {
                    "mediaType": f"{kind}.image.rootfs.diff.tar.gzip",
                    "size": size,
                    "digest": f"sha256:{tree.hexdigest()}",
                }
            ],
        },
        sort_keys=True,
    )
    digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
    return Image(config=config, rootfs=root, digest=digest, manifest=manifest)


def keep(repo: str, image: Image) -> None:
    """Move a built image to its place. The place appears whole or not at all."""
    folder = image_folder(repo, image.digest)
    if folder.exists():
        return
    fresh = folder.with_name(folder.name + f".{state.new_id(6)}")
    fresh.mkdir(parents=True)
    shutil.move(str(image.rootfs), fresh / "rootfs")
    (fresh / "image.json").write_text(json.dumps(asdict(image.config), indent=1))
    try:
        fresh.rename(folder)
    except OSError:  # another build of the same source was first
        shutil.rmtree(fresh)
