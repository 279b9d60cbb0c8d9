"""What an export and its bundle take, part by part, from shapes alone; ``overview`` puts it together."""
