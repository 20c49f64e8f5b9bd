// Keys that edit a prompt, as in A1111: Ctrl+Up and Ctrl+Down change a weight, Alt+Left and Alt+Right move what stands between commas.
"use strict";
{
  const ui = window.webui;
  const settings = { keyedit_precision_attention: 0.1, keyedit_precision_extra: 0.05, keyedit_delimiters: ".,\\/!?%^*;:{}=`~() ", keyedit_delimiters_whitespace: ["Tab", "Carriage Return", "Line Feed"], keyedit_move: true };
  const WHITESPACE = { Tab: "\t", "Carriage Return": "\r", "Line Feed": "\n" };
  let words = null;

  ui.addPromptWords = (server) => {
    words = server;
    ui.refreshPromptKeys();
  };
  ui.promptWords = (query) => words.words(query);
  /** Take the settings over; for when they may have changed. */
  ui.refreshPromptKeys = async () => Object.assign(settings, await words?.key_settings(null).catch(() => null));

  /** The prompt box that an event came from. */
  ui.promptOfEvent = (event) => event.target.matches?.(".prompt textarea") ? event.target : null;

  /** Put a text in the place of another, as typing would: it can be undone, and gradio hears of it. */
  ui.replaceText = (box, from, to, text) => {
    ui.isReplacing = true;
    box.focus();
    box.setSelectionRange(from, to);
    const done = text ? document.execCommand("insertText", false, text) : from === to || document.execCommand("delete");
    if (!done) {
      box.setRangeText(text, from, to, "end");
      box.dispatchEvent(new InputEvent("input", { bubbles: true }));
    }
    ui.isReplacing = false;
  };

  /** Make a box hold this text, by replacing no more than what differs. */
  const rewrite = (box, text, start, end) => {
    const old = box.value;
    let head = 0, tail = 0;
    while (head < Math.min(old.length, text.length) && old[head] === text[head]) head++;
    while (tail < Math.min(old.length, text.length) - head && old[old.length - 1 - tail] === text[text.length - 1 - tail]) tail++;
    if (old !== text) ui.replaceText(box, head, old.length - tail, text.slice(head, text.length - tail));
    box.setSelectionRange(start, end);
  };

  /** The inside of the innermost pair of brackets around the caret, without a weight at its end; null where there is none. */
  function insideBrackets(text, caret, open, close) {
    const before = text.slice(0, caret), after = text.slice(caret);
    const begin = before.lastIndexOf(open), end = after.indexOf(close), nested = after.indexOf(open);
    if (begin < 0 || before.lastIndexOf(close) > begin || end < 0 || (nested >= 0 && end > nested)) return null;
    const inside = text.slice(begin + 1, caret + end);
    const length = /:-?[\d.]+/.test(inside) ? inside.lastIndexOf(":") : inside.length;
    return [begin + 1, begin + 1 + length];
  }

  function wordAt(text, caret) {
    const delimiters = settings.keyedit_delimiters + settings.keyedit_delimiters_whitespace.map((name) => WHITESPACE[name]).join("");
    let [start, end] = [caret, caret];
    while (start > 0 && !delimiters.includes(text[start - 1])) start--;
    while (end < text.length && !delimiters.includes(text[end])) end++;
    while (start < end && text[start] === " ") start++;
    while (start < end && text[end - 1] === " ") end--;
    return [start, end];
  }

  /** The piece between start and end with a weight behind it: brackets of the older kind become one pair. null: nothing to weigh. */
  function withWeight(text, start, end) {
    const [open, close] = [text[start - 1], text[end]];
    if (open === "<") return { text, start, end, close: ">", step: settings.keyedit_precision_extra };
    const common = { close: ")", step: settings.keyedit_precision_attention };
    if ((open === "(" && close === ")") || (open === "[" && close === "]")) {
      let pairs = 1;
      while (text[start - pairs - 1] === open && text[end + pairs] === close) pairs++;
      const exact = (open === "[" ? 1 / 1.1 : 1.1) ** pairs;
      const weight = Number((Math.round(exact / common.step) * common.step).toPrecision(12));
      return {
        ...common, start: start - pairs + 1, end: end - pairs + 1,
        text: `${text.slice(0, start - pairs)}(${text.slice(start, end)}:${weight})${text.slice(end + pairs)}`,
      };
    }
    if (open === "(") return { ...common, text, start, end };
    while (start < end && text[end - 1] === " ") end--;
    if (start === end) return null;
    return { ...common, text: `${text.slice(0, start)}(${text.slice(start, end)}:1.0)${text.slice(end)}`, start: start + 1, end: end + 1 };
  }

  function changeWeight(box, direction) {
    let [start, end] = [box.selectionStart, box.selectionEnd];
    if (start === end) {
      const around = [["<", ">"], ["(", ")"], ["[", "]"]].map((pair) => insideBrackets(box.value, start, ...pair)).find(Boolean);
      [start, end] = around ?? wordAt(box.value, start);
    }
    const piece = withWeight(box.value, start, end);
    if (!piece || piece.text[piece.end] !== ":") return;
    const length = piece.text.slice(piece.end + 1).indexOf(piece.close);
    const old = parseFloat(piece.text.slice(piece.end + 1, piece.end + 1 + length));
    if (length < 0 || Number.isNaN(old)) return;
    const weight = Number((old + direction * piece.step).toPrecision(12));
    const before = piece.text.slice(0, piece.end), after = piece.text.slice(piece.end + 1 + length);
    if (piece.close === ")" && weight === 1) {
      rewrite(box, before.slice(0, piece.start - 1) + before.slice(piece.start) + after.slice(1), piece.start - 1, piece.end - 1);
    } else {
      rewrite(box, `${before}:${Number.isInteger(weight) ? `${weight}.0` : weight}${after}`, piece.start, piece.end);
    }
  }

  /** Move the pieces that the selection touches past their neighbour. */
  function movePieces(box, direction) {
    const pieces = box.value.split(",");
    const pieceAt = (place) => box.value.slice(0, place).split(",").length - 1;
    const first = pieceAt(box.selectionStart), last = pieceAt(box.selectionEnd), to = first + direction;
    if (to < 0 || last + direction >= pieces.length) return;
    pieces.splice(to, 0, ...pieces.splice(first, last - first + 1));
    const lengthOf = (count) => pieces.slice(0, count).join(",").length;
    rewrite(box, pieces.join(","), lengthOf(to) + (to ? 1 : 0), lengthOf(last + direction + 1));
  }

  document.addEventListener("keydown", (event) => {
    const box = ui.promptOfEvent(event);
    if (!box || event.isComposing || event.shiftKey) return;
    const weight = { ArrowUp: 1, ArrowDown: -1 }[event.key], move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (weight && (event.ctrlKey || event.metaKey) && !event.altKey) changeWeight(box, weight);
    else if (move && event.altKey && !event.ctrlKey && !event.metaKey && settings.keyedit_move) movePieces(box, move);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);
}
