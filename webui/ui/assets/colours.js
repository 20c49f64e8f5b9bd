// The syntax of a prompt, coloured behind its text. The box itself is left as it is, so typing, selecting, spelling and undoing are the browser's own.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const LONGEST = 20000;
  const PIECE = /(?<escaped>\\[()[\]{}\\])|(?<network><(?:lora|lyco|hypernet):[^<>\n]*>)|(?<wildcard>__[^\s_](?:[^\s]*?[^\s_])?__)|(?<keyword>\b(?:BREAK|AND)\b)|(?<open>[([{])|(?<close>[)\]}])/g;
  const PAIRS = { "(": ")", "[": "]", "{": "}" };
  const NAMES = { "(": "more", "[": "less", "{": "choice" };
  const layers = new WeakMap();

  /** Ranges of a prompt with what they are, in order, none inside another one of the same kind: [from, to, kind]. */
  ui.promptRanges = (text) => {
    const ranges = [], open = [];
    for (const { index, 0: piece, groups } of text.matchAll(PIECE)) {
      const end = index + piece.length;
      if (groups.network) ranges.push([index, end, "network"]);
      else if (groups.wildcard) ranges.push([index, end, "wildcard"]);
      else if (groups.keyword) ranges.push([index, end, "keyword"]);
      else if (groups.open) open.push({ index, piece });
      else if (groups.close) {
        const last = open.at(-1);
        if (last && PAIRS[last.piece] === piece) {
          open.pop();
          ranges.push([last.index, end, NAMES[last.piece]]);
        } else ranges.push([index, end, "wrong"]);
      }
    }
    for (const { index } of open) ranges.push([index, index + 1, "wrong"]);
    return ranges;
  };

  /** The text in pieces, each with all that it is. */
  function coloured(text) {
    const ranges = ui.promptRanges(text);
    const edges = [...new Set([0, text.length, ...ranges.flatMap(([from, to]) => [from, to])])].sort((one, other) => one - other);
    return edges.slice(1).map((to, place) => {
      const from = edges[place], piece = text.slice(from, to);
      const kinds = ranges.filter(([begin, end]) => begin <= from && end >= to).map(([, , kind]) => kind);
      return kinds.length ? make("span", { className: [...new Set(kinds)].join(" ") }, piece) : piece;
    });
  }

  function layerOf(box) {
    if (!layers.has(box)) {
      const layer = make("div", { className: "prompt-colours", attributes: { "aria-hidden": "true" } });
      box.before(layer);
      box.parentElement.classList.add("coloured");
      layers.set(box, layer);
      const fit = () => {
        const { paddingTop, paddingLeft, font, lineHeight, letterSpacing, borderTopWidth, borderLeftWidth, direction } = getComputedStyle(box);
        Object.assign(layer.style, {
          font, lineHeight, letterSpacing, direction, padding: `${paddingTop} ${paddingLeft}`,
          top: `${box.offsetTop + parseFloat(borderTopWidth)}px`, left: `${box.offsetLeft + parseFloat(borderLeftWidth)}px`,
          width: `${box.clientWidth}px`, height: `${box.clientHeight}px`,
        });
        layer.scrollTop = box.scrollTop;
      };
      new ResizeObserver(fit).observe(box);
      box.addEventListener("scroll", () => { layer.scrollTop = box.scrollTop; });
      layer.fit = fit;
    }
    return layers.get(box);
  }

  /** Colour a box anew. */
  ui.colourPrompt = (box) => {
    const layer = layerOf(box);
    // A last line end is only a line to the browser when something follows it.
    layer.replaceChildren(...(box.value.length <= LONGEST ? coloured(box.value) : []), "\n");
    layer.fit();
  };

  document.addEventListener("input", (event) => {
    const box = ui.promptOfEvent(event);
    if (box) ui.colourPrompt(box);
  });
  document.addEventListener("focusin", (event) => {
    const box = ui.promptOfEvent(event);
    if (box) ui.colourPrompt(box);
  });
}
