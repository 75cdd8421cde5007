"""One reproducible study: files, parameters, processes, tables, report."""
