"""Send a run's numbers to Weights & Biases or MLflow.

    python docs/log_elsewhere.py wandb|mlflow RUN

It reads RUN/metrics.jsonl, so it works for a run of any age, and after a crash. Each call sends all
of them to a new session. Nothing in the package sends anything by itself.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path


def replay(run: Path, log: Callable[[dict[str, float], int], object]) -> int:
    """Call log({"train/loss": 2.3, ...}, step) for each line that has numbers; how many did."""
    sent = 0
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        kind, step = record.pop("kind"), record.pop("step")
        numbers = {
            f"{kind}/{name}": float(value)
            for name, value in record.items()
            if isinstance(value, int | float)
        }
        if numbers:
            log(numbers, step)
            sent += 1
    return sent


def main(to: str, run: Path) -> None:
    """Replay into the logger of that name, which has to be installed."""
    if to == "wandb":
        import wandb

        with wandb.init(name=run.name, dir=run) as session:
            replay(run, lambda numbers, step: session.log(numbers, step=step))
    else:
        import mlflow

        with mlflow.start_run(run_name=run.name):
            replay(run, lambda numbers, step: mlflow.log_metrics(numbers, step=step))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
