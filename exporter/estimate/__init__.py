"""What an export and its bundle take, part by part, from shapes alone; ``plan`` puts it together."""
