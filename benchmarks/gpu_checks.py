"""Parts of a GPU session that check whether things work: machine, library, tests, sanitizer."""

import json
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

from gpu_parts import Finished, Outcome, Session, python


def machine(session: Session) -> Outcome:
    """Records the environment, and installs the wheels that were packed."""
    came = sorted(session.wheels.glob("*.whl"))
    failures = _install(session, came) if came and not session.rehearsal else []
    facts: dict[str, object] = {"wheels": [wheel.name for wheel in came]}
    asked = "name,driver_version,memory.total,clocks.max.sm,power.limit"
    questions = {
        "gpu": ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"],
        "nvcc": ["nvcc", "--version"],
        "sanitizer": [_sanitizer() or "compute-sanitizer", "--version"],
    }
    for name, command in questions.items():
        if shutil.which(command[0]):
            output = session.command(*command).output.strip()
            facts[name] = output.splitlines()[-1] if output else ""
        else:
            facts[name] = "not found"
            session.say(f"{command[0]} was not found")
    code = (
        "import json, sys, torch; gpu = torch.cuda.is_available();"
        "print(json.dumps({'torch': torch.__version__, 'cuda': torch.version.cuda,"
        "'cudnn': torch.backends.cudnn.version(), 'python': sys.version.split()[0],"
        "'has_gpu': gpu, 'name': torch.cuda.get_device_name() if gpu else 'CPU'}))"
    )
    done = python(session, code)
    failures += done.complaints("machine: importing torch")
    if done.code == 0:
        facts |= json.loads(done.output.splitlines()[-1])
        facts["name"] = f"{facts['name']}, torch {facts['torch']}"
        if not (facts["has_gpu"] or session.rehearsal):
            failures.append("machine: torch sees no GPU; pass --rehearse to run without one")
    return Outcome(failures, facts, {})


def _install(session: Session, came: list[Path]) -> list[str]:
    """Installs wheels into a folder of their own, which only the GPU checks use."""
    wheels = [str(wheel) for wheel in came]
    if f"cp3{sys.version_info.minor}-" not in " ".join(wheels):
        python = f"Python 3.{sys.version_info.minor}"
        return [f"{session.wheels}: expected wheels for {python}; run make gpu-pack for it"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    pip += ["--no-compile", "--disable-pip-version-check", "--upgrade", f"--target={session.site}"]
    done = session.command(*pip, *wheels)
    return done.complaints("machine: installing the wheels")


def library(session: Session) -> Outcome:
    """Loads the prebuilt library if it matches the sources, and otherwise builds one."""
    load = (
        "import sys, time; from srulight.ops import build, extension; t = time.perf_counter();"
        f"ok = extension.load({session.device!r}); print(f'{{time.perf_counter() - t:.1f}} s,',"
        f" extension.status[{session.device!r}]); sys.exit(not ok)"
    )
    if session.rehearsal:
        folder = session.out / "emulated"
        done = session.command(sys.executable, "tests/ops/emulator/build.py", str(folder))
        session.environment["SRULIGHT_PREBUILT"] = str(folder)
        return Outcome(done.complaints("library: the emulated GPU"), {}, {})
    test = "from pathlib import Path; from srulight.ops import build;"
    test += f"print(build.is_current(Path({str(session.prebuilt)!r}), 'cuda'))"
    current = python(session, test).output.strip().endswith("True")
    facts: dict[str, object] = {"prebuilt": current}
    failures: list[str] = []
    if current:
        prebuilt = {"SRULIGHT_PREBUILT": str(session.prebuilt)}
        done = python(session, load, prebuilt)
        if done.code == 0:
            session.environment |= prebuilt
            return Outcome([], facts | {"status": done.output.strip()}, {})
        failures = done.complaints("library: loading the prebuilt library")
    else:
        session.say(f"{session.prebuilt} has no library for these sources; building one")
    done = python(session, load)
    failures += done.complaints("library: building the library")
    return Outcome(failures, facts | {"status": done.output.strip()}, {})


def tests(session: Session) -> Outcome:
    """Runs the tests that need a GPU, in parallel."""
    report = session.out / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}"]
    if session.rehearsal:
        command += ["-q", "tests/ops/test_sru.py", "tests/ops/test_refused.py"]
        command += ["-k", "not cuda and not refuses_more_real_steps and (odd or refuses)"]
    else:
        command += ["-m", "cuda", "-rfE", "--numprocesses=8", "--dist=worksteal"]
        command += ["--continue-on-collection-errors", "-p", "xdist.plugin"]
    # Other plugins that the machine happens to have may warn, and a warning is an error here.
    done = session.command(*command, environment={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    failures = [] if done.code in (0, 1) else done.complaints("tests: pytest")
    if not report.exists():
        return Outcome(failures, {}, {})
    suite = ElementTree.parse(report).getroot().find("testsuite")
    report.unlink()
    assert suite is not None
    for case in suite.iter("testcase"):
        for problem in (*case.findall("failure"), *case.findall("error")):
            first = (problem.get("message") or "").strip().splitlines() or [""]
            name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
            failures.append(f"tests: {name}: {first[0]}")
    return Outcome(
        failures, {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")}, {}
    )


def _sanitizer() -> str | None:
    return shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin"
    )


def sanitizer(session: Session) -> Outcome:
    """Runs every option of the kernels under memcheck, racecheck and initcheck."""
    program = _sanitizer()
    if program is None and not session.rehearsal:
        return Outcome(
            [], {"notes": ["compute-sanitizer was not found; this part was skipped"]}, {}
        )
    tools = ("memcheck", "racecheck", "initcheck")

    def check(tool: str) -> Finished:
        prefix = [] if session.rehearsal or program is None else [program, f"--tool={tool}"]
        command = [*prefix, sys.executable, "benchmarks/exercise.py", "--device", session.device]
        return session.command(
            *command, quiet=True, environment={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        )

    begin = time.monotonic()
    with ThreadPoolExecutor(len(tools)) as pool:
        done = dict(zip(tools, pool.map(check, tools), strict=True))
    failures: list[str] = []
    facts: dict[str, object] = {}
    for tool, finished in done.items():
        failures += finished.complaints(f"sanitizer: {tool}")
        summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", finished.output)
        facts[tool] = summary[-1] if summary else "no summary"
        if summary and not re.search(r"SUMMARY: 0 ", summary[-1]):
            failures.append(f"sanitizer: {tool}: {summary[-1]}")
    session.say(f"{facts}, {time.monotonic() - begin:.0f} s")
    return Outcome(failures, facts, {})
