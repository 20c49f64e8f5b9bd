// The prompt boxes: token counters, what the prompt language would take otherwise than it looks, and pictures dropped on them.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const BOXES = { prompt: "prompt", negative_prompt: "neg_prompt" };
  // After a pause in typing; an engine that is still starting cannot count and is asked again. Remarks wait longer, for who types
  // an opening bracket means to close it.
  const PAUSE = 300, AGAIN = 1500, CALM = 900;
  const prompts = {};

  const promptOf = (tab, name) => prompts[`${tab} ${name}`] ??= new Prompt(tab, name);
  ui.promptBox = (tab, name) => document.querySelector(`#${tab}_${BOXES[name]} textarea`);
  ui.addTokenCounter = (tab, name, element, server) => promptOf(tab, name).count(element.querySelector(".token-counter"), server);
  ui.addProblems = (tab, name, element) => { promptOf(tab, name).list = element.querySelector(".problems"); };
  ui.promptChanged = (tab, name, text, styles) => {
    promptOf(tab, name).change(text, styles ?? []);
    // gradio writes into a box a moment after it has told of it.
    requestAnimationFrame(() => { if (ui.promptBox(tab, name)) ui.colourPrompt(ui.promptBox(tab, name)); });
  };

  class Prompt {
    constructor(tab, name) {
      Object.assign(this, { tab, name, text: "", styles: [], asked: 0, problems: [], more: 0 });
    }

    count(counter, server) {
      Object.assign(this, { counter, server });
      this.check();
    }

    change(text, styles) {
      if (text === this.text && styles.join("\n") === this.styles.join("\n")) return;
      Object.assign(this, { text, styles });
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.check(), PAUSE);
    }

    async check() {
      if (!this.server) return;
      const turn = ++this.asked;
      const text = this.text;
      const answer = await this.server.check({ text, styles: this.styles }).catch(() => null);
      if (turn !== this.asked) return;
      if (answer?.tokens) this.showTokens(answer.tokens);
      else {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.check(), AGAIN);
      }
      if (!answer) return;
      const typing = document.activeElement === ui.promptBox(this.tab, this.name) && answer.problems.length > this.problems.length;
      clearTimeout(this.later);
      this.later = setTimeout(() => { if (text === this.text) this.showProblems(answer); }, typing ? CALM : 0);
    }

    showTokens([used, limit]) {
      this.counter.textContent = `${used}/${limit}`;
      this.tokens = `${used} of ${limit} tokens used`;
      this.showCounter();
    }

    showCounter() {
      const found = this.problems.length + this.more;
      this.counter.classList.toggle("warning", found > 0);
      this.counter.title = found ? `${this.tokens}. ${this.problems[0].message}` : this.tokens ?? "";
    }

    showProblems({ problems, more }) {
      Object.assign(this, { problems, more });
      const lines = problems.map((problem) => make("li", {}, make("button", { type: "button", className: "problem", onclick: () => this.select(problem) },
        make("q", {}, problem.quote), " ", make("span", {}, problem.message))));
      if (more) lines.push(make("li", { className: "problem-more" }, `and ${more} more`));
      this.list?.replaceChildren(...lines);
      this.showCounter();
    }

    /** Select the piece; taking the focus anew with the caret in it makes the browser scroll to it. */
    select({ start, end }) {
      const box = ui.promptBox(this.tab, this.name);
      box.blur();
      box.setSelectionRange(start, start);
      box.focus();
      box.setSelectionRange(start, end);
    }
  }

  // A picture dropped on a prompt is read for its parameters; a dropped text is left to the browser.
  const boxUnder = (event) => event.target.closest?.(".prompt-box");
  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const mark = (box) => { for (const other of document.querySelectorAll(".prompt-box")) other.classList.toggle("dropping", other === box); };
  document.addEventListener("dragover", (event) => {
    const box = holdsFile(event) ? boxUnder(event) : null;
    mark(box);
    if (box) event.preventDefault();
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(null); });
  document.addEventListener("drop", (event) => {
    mark(null);
    const box = boxUnder(event);
    const file = box && event.dataTransfer?.files?.[0];
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    ui.takeOverPicture(ui.tabAround(box), file);
  }, true);
}
