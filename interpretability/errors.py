"""The error that a caller can put right."""

from __future__ import annotations

from collections.abc import Mapping


class InputError(ValueError):
    """Something about the arguments of a call. The message names the argument, its value and what is allowed.

    `template` has a hole {NAME} for each of the `arguments` that it names and for each of the `values`. As text the error
    shows the arguments under their own names; `naming` shows them under other names, such as the keys of a file from which a
    program took them. A template without arguments and values is the message itself.

    >>> error = InputError("{n_tasks} is {given}; at least {least} are needed", "n_tasks", given=1, least=2)
    >>> print(error)
    n_tasks is 1; at least 2 are needed
    >>> print(error.naming({"n_tasks": "tasks.n_tasks"}))
    tasks.n_tasks is 1; at least 2 are needed
    """

    def __init__(self, template: str, /, *arguments: str, **values: object) -> None:
        self.template, self.arguments, self.values = template, arguments, values
        super().__init__(self.naming({}))

    def naming(self, names: Mapping[str, str]) -> str:
        """The message, with arguments called as `names` says; those that it lacks keep their own names."""
        if not (self.arguments or self.values):
            return self.template
        called = {argument: names.get(argument, argument) for argument in self.arguments}
        return self.template.format_map({**self.values, **called})

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[InputError], args: tuple[object, ...], state: Mapping[str, object]) -> InputError:
    """An error as it was, in another process; kinds of it may be made from other arguments."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error
