"""What a user waits for between thoughts: the help, a look at the environments, the fast tests.

python -m benchmarks.commands [--quick] --out FILE
"""

import os
import subprocess
import sys
import tempfile

from benchmarks.harness import ROOT, arguments, sample, summary, write


def main() -> None:
    """Measure whole commands, each in a process of its own."""
    options = arguments("Whole commands")
    times = 3 if options.quick else 15
    cifarops = [sys.executable, "-m", "cifarops.cli.main"]
    with tempfile.TemporaryDirectory() as workspace:
        environment = {**os.environ, "CIFAROPS_WORKSPACE": workspace}

        def run(*command: str) -> None:
            subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)

        run("make", "install")  # the first time it takes minutes, which is not what is measured
        results = {
            "help": summary(sample(lambda: run(*cifarops, "--help"), times), target_seconds=0.3),
            "doctor": summary(sample(lambda: run(*cifarops, "doctor"), times)),
            "deploy_status": summary(sample(lambda: run(*cifarops, "deploy", "status"), times)),
            "make_test": summary(
                sample(lambda: run("make", "test"), 1 if options.quick else 3), target_seconds=300
            ),
        }
    write(options.out, "commands", results=results)


if __name__ == "__main__":
    main()
