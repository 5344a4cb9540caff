// Builds and updates elements. Text is always inserted as text, so nothing from a server becomes markup.

/** Makes an element: `element("p", {class: "soft"}, "words", otherElement)`. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null && child !== false));
  return made;
}

/** Sets text only when it differs, so that screen readers and selections are not disturbed. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Makes the children of `list` match `items`. Rows are kept by key, so a button keeps its focus while
 * the numbers in its row change.
 */
export function keepRows(list, items, keyOf, makeRow, updateRow) {
  const old = new Map([...list.children].map((row) => [row.dataset.key, row]));
  let place = list.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let row = old.get(key);
    if (row) old.delete(key);
    else {
      row = makeRow(item);
      row.dataset.key = key;
    }
    updateRow(row, item);
    if (row === place) place = place.nextElementSibling;
    else list.insertBefore(row, place);
  }
  for (const row of old.values()) row.remove();
}

/** Fills a row of a table: each cell is its content, or a pair of that (one or several) and a class. */
export function fillCells(row, cells) {
  const cell = (given) => {
    const [content, kind] = Array.isArray(given) ? given : [given];
    return element("td", { class: kind }, ...[content].flat());
  };
  row.replaceChildren(...cells.map(cell));
}

/**
 * The same with the cells of `item`, if the row shows another one: selections of text and the focus of buttons stay
 * otherwise.
 */
export function fillRow(row, item, cellsOf) {
  const content = JSON.stringify(item);
  if (row.dataset.content === content) return;
  row.dataset.content = content;
  fillCells(row, cellsOf(item));
}
