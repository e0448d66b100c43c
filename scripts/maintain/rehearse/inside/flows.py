"""The flows of a trial: tasks, a map, a subflow, a retry, artifacts, logs. Prefect 3; run by the Python on trial."""

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

WORDS = ["one", "three", "réseau ² 21 °C"]
"""Plain and not: a log line that is no ASCII has to reach the server whole."""
TASK_RUNS = len(WORDS) + 3
"""What the server has to have recorded of one ``trial``: the mapped tasks, the retried one, the subflow and its own."""
RESULT = sum(map(len, WORDS)) + 1
"""What ``trial`` returns."""

_tries: list[int] = []


@task
def length(word: str) -> int:
    """A task that is mapped."""
    get_run_logger().info("word: %s", word)
    return len(word)


@task(retries=2, retry_delay_seconds=0)
def stubborn() -> int:
    """Fails once, then does not."""
    _tries.append(1)
    if len(_tries) % 2:
        raise RuntimeError("the first try fails, as it should")
    return 1


@task
def total(numbers: list[int]) -> int:
    """A task of the subflow."""
    return sum(numbers)


@flow
def summed(numbers: list[int]) -> int:
    """A subflow."""
    return total(numbers)


@flow(name="trial", log_prints=True)
def trial(extra: int = 0) -> int:
    """Everything at once; :data:`RESULT` with the default."""
    numbers = [future.result() for future in length.map(WORDS)]
    found = summed([*numbers, stubborn(), extra])
    create_markdown_artifact(markdown=f"# {found}", key="trial-text")
    create_table_artifact(table=[{"word": word} for word in WORDS], key="trial-table")
    print("found", found)  # noqa: T201 - the worker's log has it
    return found


@flow(name="answer", log_prints=True)
def answer(question: str = "none") -> str:
    """What the deployment runs, for a person and for the automation."""
    print("asked", question)  # noqa: T201
    return question
