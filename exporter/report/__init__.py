"""Outcomes as reports: JUnit, SARIF, HTML, Markdown, annotations and the console."""
