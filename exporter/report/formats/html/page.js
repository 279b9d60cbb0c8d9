"use strict";
// Draws the plots that stand beside their places as JSON, with the page's own colours, and again when those change.
(function () {
  const config = { displayModeBar: false, responsive: true, displaylogo: false };

  function coloured(value, style) {
    if (typeof value === "string") {
      return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    }
    if (Array.isArray(value)) {
      return value.map((item) => coloured(item, style));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
    }
    return value;
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    for (const source of document.querySelectorAll("script[data-plot]")) {
      const figure = coloured(JSON.parse(source.textContent), style);
      const plain = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13, family: "system-ui, sans-serif" } };
      Plotly.react(source.dataset.plot, figure.data, { ...figure.layout, ...plain }, config);
    }
  }

  draw();
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", draw);
  }
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details.pair, section > details")) {
      part.open = true;
    }
  });
})();
