"use strict";
// Draws the plots that stand beside their places as JSON, with the page's own colours, and again when those change.
(function () {
  const narrow = matchMedia("screen and (max-width: 46rem)"); // as in the style: no room beside a plot for its words
  const LINE = 17; // pixels of a line of their text
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

  // Broken at its spaces into lines; plotly's texts have no other form, and their entities no spaces.
  function broken(text, most) {
    const lines = [""];
    for (const word of text.split(" ")) {
      const last = lines[lines.length - 1];
      if (last && last.length + word.length >= most) {
        lines.push(word);
      } else {
        lines[lines.length - 1] = last ? `${last} ${word}` : word;
      }
    }
    return lines.join("<br>");
  }

  function scaleBelow(trace) {
    const { colorbar } = trace;
    const odd = (list) => list.filter((_, at) => at % 2 === 0);
    const place = { orientation: "h", y: 0, yref: "container", yanchor: "bottom", thickness: 12 };
    const ticks = { tickvals: odd(colorbar.tickvals), ticktext: odd(colorbar.ticktext), tickangle: 0 };
    return { ...trace, colorbar: { ...colorbar, ...place, ...ticks, title: { ...colorbar.title, side: "top" } } };
  }

  // Bars' labels take several lines, and with them the text at a bar's end if it is long.
  function labelsBroken(trace) {
    const long = trace.text.some((text) => text.length > 12);
    const y = trace.y.map((label, at) => broken(label, 20) + (long ? `<br>${broken(trace.text[at], 20)}` : ""));
    return { ...trace, y, textposition: long ? "none" : trace.textposition };
  }

  // On a narrow screen a scale lies below its plot, and long labels are broken, so that marks have room.
  function fitted(figure) {
    if (!narrow.matches) {
      return figure;
    }
    const layout = { ...figure.layout };
    const title = layout.xaxis?.title?.text;
    if (title) {
      layout.xaxis = { ...layout.xaxis, title: { ...layout.xaxis.title, text: broken(title, 22) } };
      layout.height += LINE * (title.length / 22);
    }
    const data = figure.data.map((trace) => {
      if (trace.colorbar) {
        layout.height += 70;
        return scaleBelow(trace);
      }
      if (trace.type === "bar") {
        const bars = labelsBroken(trace);
        const lines = Math.max(...bars.y.map((label) => label.split("<br>").length));
        layout.height += LINE * (lines - 1) * bars.y.length;
        return bars;
      }
      return trace;
    });
    return { data, layout };
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    for (const source of document.querySelectorAll("script[data-plot]")) {
      const place = document.getElementById(source.dataset.plot);
      const figure = fitted(coloured(JSON.parse(source.textContent), style));
      place.style.minHeight = `${figure.layout.height}px`;
      const plain = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13, family: "system-ui, sans-serif" } };
      Plotly.react(place, figure.data, { ...figure.layout, ...plain }, config);
    }
  }

  draw();
  for (const query of [narrow, matchMedia("(prefers-color-scheme: dark)"), matchMedia("print")]) {
    query.addEventListener("change", draw);
  }
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details.pair, section > details")) {
      part.open = true;
    }
  });
})();
