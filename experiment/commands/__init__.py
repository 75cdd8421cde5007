"""The commands of `python -m experiment`, one a module: `add_arguments(parser)` and `main(args)`."""
