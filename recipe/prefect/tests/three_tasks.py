"""A flow of three tasks, written so that every Prefect from 1.4.1 on runs it."""

try:
    from prefect import flow, task
except ImportError:  # Prefect 1: a flow is put together first and run then
    from prefect import Flow, task

    def flow(name):
        """What ``flow`` of Prefect 2 does, as far as it is needed here."""

        def decorate(function):
            def run():
                with Flow(name) as graph:
                    last = function()
                return graph.run().result[last].result

            return run

        return decorate


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
