// The Extras tab's steps beside enlarging and mending: a block for each, with a tick, and controls as they are declared.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;

  /** The block of one step. `read` says what is asked of it: null while it is not ticked. */
  ui.extrasStep = (step) => {
    const controls = Object.entries(step.controls).map(([name, one]) => [name, control(one)]);
    const box = make("input", { type: "checkbox", id: step.id });
    const body = make("div", { className: "extras-group", hidden: true }, ...controls.map(([, { element }]) => element));
    box.onchange = () => { body.hidden = !box.checked; };
    const element = make("fieldset", { className: "extras-block" },
      make("legend", {}, make("label", { className: "tick" }, box, step.name)), body);
    const values = () => Object.fromEntries(controls.map(([name, { read }]) => [name, read()]).filter(([, value]) => value !== null));
    return { element, read: () => (box.checked ? { name: step.name, values: values() } : null) };
  };

  function control(one) {
    if (one.isTick) return ticked(one);
    if (one.isMany) return listed(one, one.choices ?? one.default, { multiple: true });
    if (one.choices) return listed(one, one.choices, {});
    return typeof one.default === "number" ? numbered(one) : written(one);
  }

  function ticked(one) {
    const box = make("input", { type: "checkbox", checked: one.default });
    return { element: make("label", { className: "tick", id: one.id, title: one.help }, box, one.title), read: () => box.checked };
  }

  function field(one, ...inputs) {
    return make("label", { className: "extras-field", id: one.id, title: one.help }, make("span", {}, one.title), ...inputs);
  }

  function listed(one, choices, looks) {
    const isChosen = (choice) => (looks.multiple ? one.default.includes(choice) : choice === one.default);
    const list = make("select", looks, ...choices.map((choice) => make("option", { value: choice, selected: isChosen(choice) }, choice)));
    const chosen = () => [...list.selectedOptions].map((option) => option.value);
    return { element: field(one, list), read: () => (looks.multiple ? chosen() : list.value) };
  }

  function numbered(one) {
    const number = make("input", { type: "number", step: "any", value: one.default });
    const read = () => (number.value === "" ? null : Number(number.value));
    if (one.minimum === null || one.maximum === null) return { element: field(one, number), read };
    const range = make("input", { type: "range", min: one.minimum, max: one.maximum, step: one.step ?? 1, value: one.default, tabIndex: -1, attributes: { "aria-hidden": "true" } });
    range.oninput = () => { number.value = range.value; };
    number.oninput = () => { range.value = number.value; };
    return { element: field(one, number, range), read };
  }

  function written(one) {
    const box = make("input", { type: "text", value: one.default, spellcheck: false });
    return { element: field(one, box), read: () => box.value };
  }
}
