// The page in another language: the texts, titles, placeholders and labels that a localisation knows, never what is typed or sent.
//
// A translation is written as text, never as markup. {1}, {2}, ... in a key stand for what differs, as in "{1} of {2} tokens used".
"use strict";
{
  const ui = window.webui;
  const ATTRIBUTES = ["title", "placeholder", "aria-label", "aria-description", "aria-valuetext", "alt"];
  // What users wrote, and names of their files: no words of the page.
  const UNTOUCHED = "textarea, script, style, pre, code, td, .infotext, .prompt-text, .job-prompt, .history-entry > span, .preset-list .history-entry, .card-title, .styles-choice .token, .completions, .colours";
  const ALL_UNTOUCHED = "[data-untranslated], [translate=no], .gallery-open img, .viewer-picture img";
  const OWN_TITLES = ".gallery-open, .card";
  const LONGEST = 2000, DEEPEST = 2, MOST_PATTERNS = 2000, REMEMBERED = 5000, MOST_SLOTS = 20;
  const DROPDOWN = "input[role=combobox], input[role=listbox]", VALUE = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
  // Between facts that stand in one line; each is looked up alone.
  const FACTS = " · ";
  const SLOT = /\{(\d)\}/;

  let exact = new Map(), loose = new Map(), patterns = [], isWide = false;
  const known = new Map();
  // What was written here is not read again, or two texts that are each other's translation would change for ever.
  const written = new WeakMap();

  /** A key with slots as its fixed parts and the slots' numbers; null where the parts are too few to know it by. */
  function readPattern(key, value) {
    const pieces = key.split(new RegExp(SLOT, "g"));
    const parts = pieces.filter((_, place) => place % 2 === 0), slots = pieces.filter((_, place) => place % 2 === 1);
    if (!slots.length || value.split(SLOT).length > 2 * MOST_SLOTS || parts.slice(1, -1).includes("") || !/\p{L}{2}/u.test(parts.join(" "))) return null;
    return { parts, slots, value };
  }

  /** What a text has in a pattern's slots; null if it does not fit. Looks at no place twice, whatever the pattern is. */
  function slotsOf(text, { parts }) {
    const first = parts[0], last = parts.at(-1);
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return null;
    const end = text.length - last.length, found = [];
    let from = first.length;
    for (const part of parts.slice(1, -1)) {
      const place = text.indexOf(part, from);
      if (place < 0 || place + part.length > end) return null;
      found.push(text.slice(from, place));
      from = place + part.length;
    }
    return [...found, text.slice(from, end)];
  }

  /** What is in a slot. A translation that makes much of little is none, or a few of them would make a flood. */
  const inOtherWords = (text, depth) => {
    const other = translated(text, depth);
    return other.length > LONGEST ? text : other;
  };

  function whole(text, depth) {
    const found = exact.get(text) ?? loose.get(text.toLowerCase());
    if (found !== undefined || depth > DEEPEST) return found;
    const [, count, counted] = /^([\d.,]+) (\S+)$/.exec(text) ?? [];
    if (exact.has(counted)) return `${count} ${exact.get(counted)}`;
    for (const pattern of patterns) {
      const inside = slotsOf(text, pattern);
      if (!inside) continue;
      const values = new Map(pattern.slots.map((slot, place) => [slot, inOtherWords(inside[place], depth + 1)]));
      return pattern.value.replaceAll(new RegExp(SLOT, "g"), (all, slot) => values.get(slot) ?? all);
    }
    return undefined;
  }

  /** A text put together from several: each is looked up alone. */
  function inPieces(text, depth) {
    for (const [mark, joined, needsAll] of [[FACTS, FACTS, false], [/(?<=[.!?…]) (?=\S)/, " ", false], ["; ", isWide ? "；" : "; ", true], [", ", isWide ? "，" : ", ", true]]) {
      const pieces = text.split(mark);
      if (pieces.length < 2) continue;
      const others = pieces.map((one) => whole(one.trim(), depth + 1) ?? (/\p{L}/u.test(one) ? undefined : one));
      const changed = others.filter((one, place) => one !== undefined && one !== pieces[place]).length;
      if (!changed || (needsAll && others.includes(undefined))) continue;
      return others.map((one, place) => one ?? pieces[place]).join(joined).replaceAll(/([。！？]) /g, "$1");
    }
    const [, name, rest] = /^([^:]+): (.+)$/.exec(text) ?? [];
    return exact.has(name) ? `${exact.get(name)}: ${rest}` : undefined;
  }

  function translated(text, depth = 0) {
    // What only joins a text to others is no part of it; tools/list_texts.py leaves it out in the same way.
    if (text.length > LONGEST) return text;
    const own = text.replaceAll(/^[\s·,;:]+|[\s·,;:]+$/g, ""), words = own.replaceAll(/\s+/g, " ");
    if (!own || !/\p{L}/u.test(own)) return text;
    const other = (words.includes(FACTS) ? undefined : whole(words, depth)) ?? (depth > DEEPEST ? undefined : inPieces(words, depth));
    return other === undefined ? text : text.replace(own, () => other);
  }

  /** A text in the page's language; the text itself where that has none for it. */
  ui.inWords = (text) => {
    if (!exact.size) return text;
    if (!known.has(text)) {
      if (known.size > REMEMBERED) known.clear();
      known.set(text, translated(text));
    }
    return known.get(text);
  };

  function change(owner, name, own, write) {
    const mine = written.get(owner) ?? {};
    if (!own || mine[name] === own) return;
    const other = ui.inWords(own);
    if (other === own) return;
    mine[name] = other;
    written.set(owner, mine);
    write(other);
  }

  const changeText = (node) => change(node, "text", node.nodeValue, (other) => {
    // An option without a value of its own has its text for it, which is what is sent.
    if (node.parentElement?.tagName === "OPTION" && !node.parentElement.hasAttribute("value")) node.parentElement.value = node.nodeValue.trim();
    node.nodeValue = other;
  });
  const changeAttribute = (element, name) => {
    if (element.hasAttribute(name) && !(name === "title" && element.matches(OWN_TITLES))) change(element, name, element.getAttribute(name), (other) => element.setAttribute(name, other));
  };

  /** Let a dropdown show its choice in other words, while it says the choice itself to whoever asks for its value. */
  function dress(input) {
    let shown = null;
    const show = (value) => {
      const typing = document.activeElement === input && !input.readOnly;
      const other = typing ? value : exact.get(value) ?? value;
      shown = other === value ? null : { value, other };
      VALUE.set.call(input, other);
    };
    const tell = () => {
      const there = VALUE.get.call(input);
      return there === shown?.other ? shown.value : there;
    };
    Object.defineProperty(input, "value", { configurable: true, get: tell, set: show });
    for (const event of ["focus", "blur"]) input.addEventListener(event, () => show(tell()));
    show(tell());
  }

  function visit(node) {
    if (node.nodeType === Node.TEXT_NODE) return changeText(node);
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(ALL_UNTOUCHED)) return undefined;
    if (node.matches(DROPDOWN) && !Object.hasOwn(node, "value")) dress(node);
    for (const name of ATTRIBUTES) changeAttribute(node, name);
    if (!node.matches(UNTOUCHED)) for (const child of node.childNodes) visit(child);
    return undefined;
  }

  const isTouched = (element, selector) => Boolean(element) && !element.closest(selector);
  const heed = (changes) => {
    for (const { type, target, addedNodes, attributeName } of changes) {
      if (type === "attributes") {
        if (isTouched(target, ALL_UNTOUCHED)) changeAttribute(target, attributeName);
      } else if (isTouched(target.nodeType === Node.TEXT_NODE ? target.parentElement : target, `${UNTOUCHED}, ${ALL_UNTOUCHED}`)) {
        if (type === "characterData") changeText(target);
        else for (const node of addedNodes) visit(node);
      }
    }
  };

  function speak({ words, tag, rtl }) {
    exact = new Map(Object.entries(words).map(([key, value]) => [key.trim().replaceAll(/\s+/g, " "), value]));
    isWide = /^(zh|ja)\b/.test(tag);  // whose punctuation is as wide as its letters
    loose = new Map([...exact].map(([key, value]) => [key.toLowerCase(), value]));
    patterns = [...exact].filter(([key]) => SLOT.test(key)).slice(0, MOST_PATTERNS).map(([key, value]) => readPattern(key, value)).filter(Boolean);
    patterns.sort((one, other) => other.parts.join("").length - one.parts.join("").length);  // what says most fits best
    known.clear();
    window.localization = words;  // A1111's name of it, for extensions
    document.documentElement.lang = tag;
    if (rtl) document.documentElement.dir = "rtl";
    new MutationObserver(heed).observe(document.documentElement, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES });
    visit(document.body);
  }

  window.localization = {};
  ui.localization = fetch(ui.address("internal/localization"))
    .then((answer) => answer.ok ? answer.json() : { language: "", problems: [] })
    .catch(() => ({ language: "", problems: [] }))
    .then((answer) => {
      if (answer.language && Object.keys(answer.words).length) speak(answer);
      return answer;
    });
}
