// A tab's picture in words, written into its prompt.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;

  /** The button, and beside it the choice of who describes, where there is one. */
  ui.addDescribe = (tab, element, server) => {
    const button = make("button", { type: "button", className: "describe-button", textContent: "Describe", title: "Put the picture into words, behind what the prompt says" });
    const choice = make("select", { className: "describe-choice", hidden: true, attributes: { "aria-label": "Who describes the picture" } });
    element.querySelector(".describe").replaceChildren(button, choice);

    const offer = async () => {
      const models = await server.models(null).catch(() => []);
      const chosen = choice.value;
      choice.replaceChildren(...models.map(({ name, title }) => make("option", { value: name, textContent: title })));
      if (models.some(({ name }) => name === chosen)) choice.value = chosen;
      choice.hidden = models.length < 2;
    };

    const describe = async () => {
      const value = await ui.canvas(`${tab}_image`).ready();
      if (!value) throw new Error("There is no picture to describe. Load one first.");
      const { text, message } = await server.describe({ picture: value.picture, model: choice.value });
      if (message) throw new Error(message);
      const { prompt } = await ui.readForm(tab);
      ui.changeForm(tab, { prompt: [prompt?.trim(), text].filter(Boolean).join(", ") });
    };

    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await offer();
        await describe();
      } catch (error) {
        ui.tell(tab, String(error.message ?? error));
      } finally {
        button.disabled = false;
      }
    });
    offer();
  };
}
