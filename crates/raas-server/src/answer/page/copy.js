if (navigator.clipboard) for (const pull of document.querySelectorAll(".pull")) {
  const button = document.createElement("button"), code = pull.querySelector("code");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-live", "polite");
  button.title = "Copy the command";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  pull.append(button);
}
