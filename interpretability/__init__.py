"""How well can people understand a unit of a vision network? Arrays and tables in, arrays and tables out."""
