"""A flow of three tasks, written so that every Prefect from 2.8.6 on runs it."""

from prefect import flow, task


@task
def extract():
    """Three numbers."""
    return [1, 2, 3]


@task
def double(numbers):
    """Each number twice as big."""
    return [2 * number for number in numbers]


@task
def total(numbers):
    """Their sum."""
    return sum(numbers)


@flow(name="three-tasks")
def three_tasks():
    """The sum of the doubled numbers."""
    return total(double(extract()))


if __name__ == "__main__":
    print("total:", three_tasks())  # noqa: T201 - the caller reads it
