"""Science of the study: arrays and tables in, arrays and tables out. No paths, no parameters, no DVC."""
