"""What texts say about units: judged by correlation with the concept that they name, by machine and by people."""
